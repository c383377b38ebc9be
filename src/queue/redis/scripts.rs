//! The scripts: each is one step that Redis takes whole or not at all. Those that every task goes through are short and define
//! no functions, for Redis runs all of a script each time.
//! <https://redis.io/docs/latest/develop/programmability/eval-intro/>

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Script};

macro_rules! script {
    ($($file:literal),+) => {
        Script::new(concat!($(include_str!(concat!("scripts/", $file))),+))
    };
}

/// All scripts; Redis knows each by its digest once it has seen it.
pub(super) struct Scripts {
    pub(super) take: Script,
    pub(super) settle: Script,
    pub(super) renew: Script,
    pub(super) release: Script,
    pub(super) look: Script,
    pub(super) give_back: Script,
    pub(super) bury: Script,
    pub(super) probe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            take: script!("take.lua"),
            settle: script!("settle.lua"),
            renew: script!("renew.lua"),
            release: script!("release.lua"),
            look: script!("common.lua", "look.lua"),
            give_back: script!("common.lua", "give_back.lua"),
            bury: script!("bury.lua"),
            probe: script!("probe.lua"),
        }
    }
}

/// Runs a script on these keys.
pub(super) async fn call<T: FromRedisValue>(
    script: &Script,
    connection: &mut MultiplexedConnection,
    keys: &[&str],
    arguments: &[&[u8]],
) -> RedisResult<T> {
    let mut invocation = script.prepare_invoke();
    for key in keys {
        invocation.key(*key);
    }
    for argument in arguments {
        invocation.arg(*argument);
    }
    invocation.invoke_async(connection).await
}
