//! The scripts: each is one step that Redis takes whole or not at all.
//! <https://redis.io/docs/latest/develop/programmability/eval-intro/>

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisResult, Script};

use super::keys;

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/common.lua"), include_str!(concat!("scripts/", $file))))
    };
}

/// All scripts; Redis knows each by its digest once it has seen it.
pub(super) struct Scripts {
    pub(super) take: Script,
    pub(super) settle: Script,
    pub(super) give_back: Script,
    pub(super) renew: Script,
    pub(super) publish: Script,
    pub(super) bury: Script,
    pub(super) release: Script,
    pub(super) probe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            take: script!("take.lua"),
            settle: Script::new(include_str!("scripts/settle.lua")),
            give_back: script!("give_back.lua"),
            renew: script!("renew.lua"),
            publish: script!("publish.lua"),
            bury: script!("bury.lua"),
            release: Script::new(include_str!("scripts/release.lua")),
            probe: Script::new(include_str!("scripts/probe.lua")),
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

/// Runs a script that begins with `common.lua`; `more` are keys after the shared ones.
pub(super) async fn run<T: FromRedisValue>(
    script: &Script,
    connection: &mut MultiplexedConnection,
    more: &[String],
    arguments: &[&[u8]],
) -> RedisResult<T> {
    let mut invocation = script.prepare_invoke();
    for key in keys::SHARED {
        invocation.key(key);
    }
    for key in more {
        invocation.key(key);
    }
    for argument in arguments {
        invocation.arg(*argument);
    }
    invocation.invoke_async(connection).await
}
