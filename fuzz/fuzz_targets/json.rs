#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jira_agent_fuzz_harness::run(&jira_agent_fuzz_harness::JSON, data));
