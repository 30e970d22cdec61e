-- One script a line, the same to this server and to Valkey: see live_scripts.rs. A line break in a script is written
-- as the two characters \~.

-- The interface, errors and their places, the sandbox.
return redis.call('get')
return redis.call('nope','x')
return redis.call('config','get','x')
return redis.call()
return redis.call({})
return redis.pcall('nope','x')
redis.call('lpush','l','a') return redis.call('incr','l')
local t=redis.pcall('incr','l') return t['err']
local ok,e=pcall(redis.call,'incr','l') return {tostring(ok),type(e),e}
return foo
foo=1
redis.x=1
string.x=1
rawset(_G,'x',1)
setmetatable(_G,{})
return error('abc')
error({err='My Err'})
error({err='CODE msg', x=1})
error({1})
error()
return redis.error_reply('My')
return redis.error_reply('-My x')
return redis.error_reply('My x y')
return redis.status_reply('fine\r\nx')
return {err='a'}
return {1,2,3.9,nil,4}
return {1.5,-1.5,1e300,-1e300,0/0}
return 1e15
return {true,false,'x'}
return {ok='x'}
return {double=3.14}
return {map={a=1,b=2}}
return {set={a=true}}
return {big_number='123'}
return {verbatim_string={string='x',format='mkd'}}
redis.setresp(3) return true
redis.setresp(3) return false
redis.setresp(3) redis.call('hset','h','a','1') return redis.call('hgetall','h')
redis.setresp(3) redis.call('hset','h','a','1') local t=redis.call('hgetall','h') return {type(t.map),t.map.a}
redis.setresp(3) return {type(redis.call('get','nox'))}
redis.setresp(4)
redis.setresp()
return redis.sha1hex('x')
return redis.sha1hex()
return redis.log(1)
return redis.log('x','y')
return redis.log(9,'y')
return redis.log(redis.LOG_WARNING,'y')
return {redis.LOG_DEBUG,redis.REPL_ALL,redis.REDIS_VERSION,redis.REDIS_VERSION_NUM,server.VALKEY_VERSION or 'none',server.SERVER_NAME or 'none'}
redis.set_repl(99)
redis.set_repl()
return redis.replicate_commands()
return math.random(0)
math.randomseed(3) return math.random(1000000)
local a=redis.call('time') for i=1,3000000 do end local b=redis.call('time') return {a[2]==b[2] and 'same' or 'differs'}
return redis.call('ping')
return redis.call('echo','x')
return redis.call('select',1)
return redis.call('select',99)
return redis.call('wait',1,0)
return redis.call('blpop','nokey',0)
return redis.call('multi')
return redis.call('eval','return 1',0)
return redis.call('subscribe','x')
return redis.call('publish','x','y')
return redis.call('client','id')
return redis.call('script','load','x')
return redis.call('info','nosection')
return type(redis.call('command','count'))
return redis.call('object','encoding','l')
return redis.call('object','nope','l')
return redis.call('role')
return redis.call('lastsave') > 0
return redis.call('debug','sleep',0)
return redis.call('keys','l')
return redis.call('set','a',1.5)
redis.call('set','a',1e17) return redis.call('get','a')
redis.call('set','a',0.1) return redis.call('get','a')
redis.call('set','a',3) return redis.call('get','a')
return redis.call('set','a',true)
return redis.call('set','a',nil)
return redis.acl_check_cmd('set','x','y')
return redis.acl_check_cmd('nope')
x = 
return 1 1
local x = function() return redis.call('incr','l') end return x()
local x = function() local r = redis.call('incr','l') return r end \~ local y = x() return y
return tostring(1e15)..tostring(2^53)..tostring(0.1)
for k,v in pairs(nil) do end
local x = nil; return x.y
return #KEYS..KEYS[1]
return loadstring('return 1')()
return loadstring(string.dump(function() return 1 end))
return type(load(function() return nil end))
return {type(print),1}
return {tostring(pcall(function() return print end))}
return {tostring(os.clock()>0)}
local t={} for k in pairs(os) do t[#t+1]=k end return t
local t={} for k in pairs(redis) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(_G) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(cjson) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(cmsgpack) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(struct) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(bit) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(table) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(string) do t[#t+1]=k end table.sort(t) return t
local t={} for k in pairs(math) do t[#t+1]=k end table.sort(t) return t
return {pcall(function() error({err='x y'}) end)}
return {xpcall(function() error({err='x y'}) end, function(e) return type(e) end)}
return {xpcall(function() redis.call('incr','l') end, function(e) return e.err end)}
return {pcall(error,'x')}
return {pcall(function() return 1,2 end)}
local co=coroutine.create(function() return redis.call('incr','l') end) local a,b=coroutine.resume(co) return {tostring(a),type(b),b.err}
return coroutine.wrap(function() return redis.call('incr','l') end)()
return string.rep('x',10):upper()
return tostring(getmetatable(''))~=''
getmetatable('').__index = nil
KEYS[1]='x' return KEYS[1]
KEYS={}
return redis.breakpoint()
return redis.debug('x')
return cjson.encode({})
return 1,2
return
return 'a\0b'
math.randomseed(7) return {math.random(10),math.random(5,7),math.random()*1e9}
-- The libraries.
return cjson.encode({1,2,3})
return cjson.encode({a=1})
return cjson.encode({[1]=1,[20]=2})
return cjson.encode({[1]=1,[3]=2})
return cjson.encode({[1.5]=1})
return cjson.encode({[true]=1})
return cjson.encode({print=redis.call})
return cjson.encode(0/0)
return cjson.encode(1/0)
return cjson.encode('a"b\\c/d\n\t\127\1é')
return cjson.encode(0.1)..cjson.encode(1e15)..cjson.encode(1e14)..cjson.encode(1e300)..cjson.encode(-1.5e-7)..cjson.encode(123456789012345678)
return cjson.encode(nil)
return cjson.encode(cjson.null)
return cjson.encode()
return cjson.encode(1,2)
return {cjson.decode('[1,2.5,"x",null,true,false,{"a":[]}]')}
return type(cjson.decode('null'))
return tostring(cjson.decode('null'))
return cjson.decode('{"a":1')
return cjson.decode('{"a"}')
return cjson.decode('{1}')
return cjson.decode('[1,]')
return cjson.decode('[1 2]')
return cjson.decode('')
return cjson.decode('x')
return cjson.decode('"abc')
return cjson.decode('"\\q"')
return cjson.decode('"\\u12"')
return cjson.decode('"\\u00e9\\ud83d\\ude00\\/"')
return cjson.decode('"\\ud83d"')
return cjson.decode('1 2')
return tostring(cjson.decode('0x10'))..tostring(cjson.decode('1e3'))..tostring(cjson.decode('-0'))
return tostring(cjson.decode('NaN'))..tostring(cjson.decode('-Infinity'))
return tostring(cjson.decode('inf'))
return cjson.decode('01')
return cjson.decode('+1')
return cjson.decode('1.')
return cjson.decode('.5')
return cjson.decode('-')
return cjson.decode(5)
return cjson.decode({})
return cjson.decode()
local t={} for i=1,1001 do t={t} end return cjson.encode(t)
return cjson.decode(string.rep('[',1001)..string.rep(']',1001))
return cjson.encode({{},{a={}}})
return cjson._NAME..cjson._VERSION
return {cjson.encode_sparse_array(true)}
return {cjson.encode_number_precision(3), cjson.encode(3.14159), cjson.encode_number_precision(14)}
return {cjson.encode_keep_buffer(), cjson.encode_max_depth(), cjson.decode_max_depth(), tostring(cjson.encode_invalid_numbers()), tostring(cjson.decode_invalid_numbers())}
return cmsgpack.pack(1,-1,127,128,255,256,65535,65536,4294967295,4294967296,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649)
return cmsgpack.pack(1.5,0.1,1e300,2^53,2^63,-2^63,0/0,1/0)
return cmsgpack.pack('a',string.rep('b',40),true,false,nil)
return cmsgpack.pack({1,2,3},{a=1},{},{[1]=1,[3]=3})
return cmsgpack.pack()
return cmsgpack.pack(redis.call)
return {cmsgpack.unpack(cmsgpack.pack(1,'x',{1,2},false))}
return {cmsgpack.unpack_one('\1\2\3')}
return {cmsgpack.unpack_one('\1\2\3',1)}
return {cmsgpack.unpack_one('\1\2\3',2)}
return {cmsgpack.unpack_limit('\1\2\3',2)}
return {cmsgpack.unpack_limit('\1\2\3',2,5)}
return {cmsgpack.unpack_one('\1\2\3',-1)}
return cmsgpack.unpack('\193')
return cmsgpack.unpack('\217')
return cmsgpack.unpack('')
return cmsgpack.unpack()
return cmsgpack.unpack(1)
return cmsgpack.unpack({})
return cmsgpack._NAME..cmsgpack._VERSION..cmsgpack._COPYRIGHT..cmsgpack._DESCRIPTION
local t={} for i=1,20 do t={t} end return cmsgpack.pack(t)
return struct.pack('>I2hB',1,-2,3)
return struct.pack('<i4',2^31)
return {struct.unpack('<I4s',"\1\2\3\4abc\0rest")}
return struct.size('>I2hBi8')
return struct.pack('z',1)
return struct.pack('I33',1)
return struct.pack('I3',1)
return struct.pack('i','x')
return {struct.unpack('I4','abc')}
return struct.pack('d',1.5)..struct.pack('f',1.5)..struct.pack('>d',1.5)
return struct.pack('c3s','abcdef','x')
return {struct.unpack('bc0','\3abcd')}
return {struct.unpack('s','abc')}
return {struct.unpack('I1','ab',2)}
return {struct.unpack('I1','ab',0)}
return struct.pack('!4bi4',1,2)
return struct.pack('!3b',1)
return struct.pack('bxb',1,2)
return struct.size('s')
return {bit.tobit(2^32+1),bit.tohex(255),bit.tohex(255,-4),bit.bnot(0),bit.band(7,3),bit.bor(1,2,4),bit.bxor(1,3),bit.lshift(1,31),bit.rshift(-1,1),bit.arshift(-8,1),bit.rol(1,33),bit.ror(1,1),bit.bswap(1),bit.tohex(-1,3)}
return bit.band('x')
return bit.band()
return {bit.tobit(1.5),bit.tobit(2.5),bit.tobit('7'),bit.tobit(1e20)}
-- Protocols and conversions.
redis.setresp(3) redis.call('sadd','t','a','b') local m=redis.call('smembers','t') return {type(m.set),tostring(m.set.a)}
redis.setresp(3) redis.call('zadd','z',1.5,'a') return redis.call('zscore','z','a')
redis.call('zadd','z',1.5,'a') return redis.call('zscore','z','a')
redis.call('zadd','z',1.5,'a','2','b') return redis.call('zrange','z',0,-1,'withscores')
redis.setresp(3) return redis.call('zrange','z',0,-1,'withscores')
redis.setresp(3) return {double=1/3}
redis.call('hset','h','a','1','b','2') return redis.call('hgetall','h')
redis.setresp(3) return {map={a=true}}
return {true,{false},{{}}}
return {err='CODE a\nb'}
return {ok=1,2,3}
return function() end
return coroutine.create(function() end)
return redis.call('mget','no','a','nope')
local r=redis.call('mget','no','a') return {type(r[1]),#r}
return {1,nil,3}
return {[1]=1,[2]=2,x=3}
return -0.9
return '\255\0\1'
return cjson.decode('{"ok":"fine"}')
return cjson.decode('{"err":"E bad"}')
-- Scripts that people use.
if redis.call('get','lock')=='me' then return redis.call('del','lock') else return 0 end
redis.call('set','lock','me','NX','PX',30000) if redis.call('get','lock')=='me' then return redis.call('del','lock') else return 0 end
local n=redis.call('incr','rate') if n==1 then redis.call('pexpire','rate',60000) end if n>2 then return redis.error_reply('LIMIT reached') end return n
local n=redis.call('incr','rate') if n==1 then redis.call('pexpire','rate',60000) end if n>2 then return redis.error_reply('LIMIT reached') end return n
local n=redis.call('incr','rate') if n==1 then redis.call('pexpire','rate',60000) end if n>2 then return redis.error_reply('LIMIT reached') end return n
local id=redis.call('incr','bull:id') local o=cmsgpack.unpack(cmsgpack.pack({'name',id,{delay=0,attempts=3}})) redis.call('hset','bull:'..id,'name',o[1],'opts',cjson.encode({attempts=o[3].attempts})) redis.call('lpush','bull:wait',id) redis.call('zadd','bull:events',id,'added') return {id,redis.call('llen','bull:wait'),redis.call('hget','bull:'..id,'opts')}
local job=redis.call('rpoplpush','bull:wait','bull:active') if not job then return false end redis.call('hset','bull:'..job,'processedOn',17) return {job,cjson.decode(redis.call('hget','bull:'..job,'opts')).attempts}
local job=redis.call('rpoplpush','bull:wait','bull:active') if not job then return false end return job
local t={} for i=1,100 do t[i]=i end return redis.call('rpush','many',unpack(t))
for i=1,200 do redis.call('zadd','scores',i,'m'..i) end return #redis.call('zrangebyscore','scores',10,'(20')
-- What a script may not do, or what it does to no avail.
local f=loadstring('foo=1') return {pcall(f)}
local f,e=loadstring('x =') return e
local f=loadstring(nil)
return loadstring('return ...','=x')(5)
local i=0 return load(function() i=i+1 if i==1 then return 'return ' elseif i==2 then return '7' end end)()
getfenv()
setfenv(1,{})
newproxy()
require('os')
return type(os.exit)
return type(io)
return type(debug)
return _G.KEYS==KEYS
_G.x=1
local t=setmetatable({},{__index=function(_,k) return k..'!' end}) return t.a
setmetatable(redis,{})
rawset(redis,'call',nil)
cjson.decode=nil
return rawget(_G,'nothing')
return {pcall(function() foo=1 end)}
return {pcall(function() return nothing end)}
local ok,e=pcall(function() return redis.call('incr','z') end) return e
return redis.pcall('incr','z')
local e=redis.pcall('incr','z') return {type(e),e.err}
local ok,e=xpcall(function() error('x') end,function(e) return 'handled '..e end) return e
return xpcall(function() return 1 end,function() end)
error('abc',0)
error('abc',2)
error(setmetatable({},{__tostring=function() return 'shown' end}))
local function f() error('deep') end local function g() f() end g()
assert(false)
assert(false,'why')
assert(nil,{err='T x'})
return select('#',unpack({1,2,3}))
return string.format('%5.2f|%s|%q|%d',1.005,'a','b\nc',3.7)
return {string.find('hello','l+'),string.gsub('aaa','a','b',2)}
return tostring(nil)..tostring(true)
return #string.rep('x',1000)
return {math.floor(-1.5),math.max(1,2),math.pi*1e6}
return {tonumber('0x10'),tonumber('10',2),tonumber('z',36),tostring(tonumber('x'))}
local t={3,1,2} table.sort(t) return t
local t={3,1,2} table.sort(t,function(a,b) return a>b end) return table.concat(t,',')
return table.concat({1,{}})
local function f() return f() end
local function f() return 1+f() end return f()
return string.rep
while 1 do local x = break end
goto x
