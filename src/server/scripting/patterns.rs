//! Lua's functions on patterns, with a bound on how deep they recurse.
//!
//! The matcher of Lua 5.1 calls itself for each repetition and each capture in a pattern, on the thread's own stack
//! and without a limit: a pattern that is long enough ends the process. Here a pattern with more than
//! [`MAX_STEPS`] of those is refused before the matcher sees it. A plain search has no such bound.
//!
//! The guard is a C function that looks at the pattern and then *is* the original: no frame stands between, so that
//! errors say the same and name the same place.

use std::ffi::c_int;
use std::sync::OnceLock;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Table};

/// The most repetitions and captures of a pattern. A step takes less than half a KiB of stack.
pub(super) const MAX_STEPS: usize = 500;

type CFunction = unsafe extern "C-unwind" fn(*mut lua_State) -> c_int;

const NAMES: [&str; 4] = ["find", "gmatch", "gsub", "match"];
const FIND: usize = 0;

/// Lua's own functions, the same for all interpreters of the process.
static ORIGINALS: [OnceLock<CFunction>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];

/// Called by Lua alone, as [`Lua::create_c_function`] asks for.
unsafe extern "C-unwind" fn guarded<const N: usize>(state: *mut lua_State) -> c_int {
    // SAFETY: `state` is valid for the call, as Lua promises. Both arguments that are looked at may be missing: the
    // functions are made for that. A pattern that is a string stays where it is while it is on the stack; nothing
    // here changes it. An error leaves this function by a jump, and there is nothing in it to drop.
    unsafe {
        let is_plain = N == FIND && ffi::lua_toboolean(state, 4) != 0;
        if !is_plain && ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            let mut len = 0;
            let pattern = ffi::lua_tolstring(state, 2, &raw mut len);
            if len > MAX_STEPS && steps(std::slice::from_raw_parts(pattern.cast(), len)) > MAX_STEPS {
                return ffi::luaL_error(state, c"pattern too complex".as_ptr());
            }
        }
        match ORIGINALS[N].get() {
            Some(original) => original(state),
            None => ffi::luaL_error(state, c"no such function".as_ptr()),
        }
    }
}

/// Repetitions and captures, or what looks like them.
fn steps(pattern: &[u8]) -> usize {
    pattern.iter().filter(|byte| matches!(byte, b'?' | b'*' | b'+' | b'-' | b'(')).count()
}

/// The functions that take the places of Lua's own in the library `string`, which is loaded.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let string: Table = lua.globals().raw_get("string")?;
    let guards: [CFunction; NAMES.len()] = [guarded::<0>, guarded::<1>, guarded::<2>, guarded::<3>];
    let table = lua.create_table()?;
    for ((name, original), guard) in NAMES.iter().zip(&ORIGINALS).zip(guards) {
        let function: Function = string.raw_get(*name)?;
        let mut found = None;
        // SAFETY: the function is on top of the stack of a valid state, and is taken from it.
        unsafe {
            lua.exec_raw::<()>(function, |state| {
                found = ffi::lua_tocfunction(state, -1);
                ffi::lua_settop(state, -2);
            })?;
        }
        if let Some(found) = found {
            original.get_or_init(|| found);
        }
        // SAFETY: it is a C function as Lua wants them: see there.
        table.raw_set(*name, unsafe { lua.create_c_function(guard)? })?;
    }
    Ok(table)
}
