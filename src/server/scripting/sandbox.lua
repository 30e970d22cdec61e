-- What stands between a script and the interpreter: run once, when the interpreter is made. `native` are
-- functions of the host. Returns the table that scripts see as their globals, the one that it stands for, and the
-- function that runs a script.
--
-- A table that scripts must not change is given to them as a proxy: an empty table whose metatable leads to it. A
-- library function that writes past the metatable (table.insert) writes into the proxy, which is emptied when the
-- script is over.
local native = ...
local real = _G
local byte, concat = string.byte, table.concat
local error, getmetatable, next, pairs, rawset, select = error, getmetatable, next, pairs, rawset, select
local setmetatable, tostring, type, xpcall, pcall = setmetatable, tostring, type, xpcall, pcall
local collectgarbage, loadstring, resume = collectgarbage, loadstring, coroutine.resume

local READONLY = 'Attempt to modify a readonly table'
local reals = {}

local function readonly()
  error(READONLY, 2)
end

local function protect(table)
  local proxy = {}
  reals[proxy] = table
  setmetatable(proxy, { __index = table, __newindex = readonly, __metatable = false })
  return proxy
end

-- An error of the host is an object; a script gets what Valkey's throw in its place. The end of a script is one
-- that no script can catch.
local function caught(ok, e, ...)
  if ok then
    return ok, e, ...
  end
  return false, native.unwrap(e)
end

local function caught_as_text(ok, e, ...)
  if ok then
    return ok, e, ...
  end
  e = native.unwrap(e)
  if type(e) == 'table' then
    local text = e.err
    if type(text) == 'string' or type(text) == 'number' then
      e = text
    end
  end
  return false, e
end

function real.pcall(...)
  return caught_as_text(pcall(...))
end

function real.xpcall(f, handler)
  return caught(xpcall(f, function(e)
    if type(e) == 'userdata' then
      if native.is_end(e) then
        return e
      end
      e = native.unwrap(e)
    end
    return handler(e)
  end))
end

function coroutine.resume(...)
  return caught(resume(...))
end

local function typename(n, value)
  return n == 0 and 'no value' or type(value)
end

function real.setmetatable(...)
  local t, metatable = ...
  if reals[t] then
    error(READONLY, 0)
  elseif type(t) ~= 'table' then
    error("bad argument #1 to 'setmetatable' (table expected, got " .. typename(select('#', ...), t) .. ')', 2)
  elseif select('#', ...) < 2 or (metatable ~= nil and type(metatable) ~= 'table') then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  end
  return setmetatable(t, metatable)
end

function real.rawset(...)
  local t, key, value = ...
  if reals[t] then
    error(READONLY, 0)
  elseif type(t) ~= 'table' then
    error("bad argument #1 to 'rawset' (table expected, got " .. typename(select('#', ...), t) .. ')', 2)
  end
  return rawset(t, key, value)
end

function real.pairs(...)
  local t = ...
  if type(t) ~= 'table' then
    error("bad argument #1 to 'pairs' (table expected, got " .. typename(select('#', ...), t) .. ')', 2)
  end
  return next, reals[t] or t, nil
end

-- Compiled code is not checked by the interpreter, so none is loaded.
function real.loadstring(...)
  local code, name = ...
  if type(code) ~= 'string' and type(code) ~= 'number' then
    error("bad argument #1 to 'loadstring' (string expected, got " .. typename(select('#', ...), code) .. ')', 2)
  elseif type(code) == 'string' and byte(code, 1) == 27 then
    return nil, 'attempt to load compiled code'
  end
  return loadstring(code, name)
end

function real.load(read, name)
  local pieces = {}
  while true do
    local piece = read()
    if piece == nil or piece == '' then
      break
    elseif type(piece) ~= 'string' then
      return nil, 'reader function must return a string'
    end
    pieces[#pieces + 1] = piece
  end
  return real.loadstring(concat(pieces), name or '=(load)')
end

-- How much memory garbage may take is not a script's to say.
function real.collectgarbage(what, argument)
  if what == nil or what == 'collect' or what == 'count' or what == 'step' then
    return collectgarbage(what, argument)
  end
  return 0
end

for name, functions in pairs(native.libraries) do
  if real[name] == nil then
    real[name] = functions
  else
    for key, value in pairs(functions) do
      real[name][key] = value
    end
  end
end
real.server = real.redis

local allowed = {}
for _, name in ipairs({
  '_VERSION', 'assert', 'bit', 'cjson', 'cmsgpack', 'collectgarbage', 'coroutine', 'error', 'gcinfo',
  'getmetatable', 'ipairs', 'load', 'loadstring', 'math', 'next', 'os', 'pairs', 'pcall', 'rawequal', 'rawget',
  'rawset', 'redis', 'select', 'server', 'setmetatable', 'string', 'struct', 'table', 'tonumber', 'tostring',
  'type', 'unpack', 'xpcall',
}) do
  allowed[name] = true
end
for name in pairs(real) do
  if not allowed[name] then
    real[name] = nil
  end
end
for name in pairs(real.os) do
  if name ~= 'clock' then
    real.os[name] = nil
  end
end

local proxies = {}
for name, value in pairs(real) do
  if type(value) == 'table' then
    proxies[value] = proxies[value] or protect(value)
    real[name] = proxies[value]
  end
end
local of_strings = getmetatable('')
of_strings.__index = real.string
of_strings.__metatable = protect(of_strings)

local globals = protect(real)
real._G = globals
real.__redis__err__handler = native.handler
real.__server__err__handler = native.handler
setmetatable(real, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
})

-- Runs a script; then everything is as it was before.
local function settle(...)
  for proxy in next, reals do
    while true do
      local key = next(proxy)
      if key == nil then
        break
      end
      rawset(proxy, key, nil)
    end
  end
  return ...
end

local function run(script)
  return settle(xpcall(script, native.handler))
end

return globals, real, run
