//! One behaviour, whatever carries the tasks: every transport runs the same table of behaviours, each as a test of its own,
//! and names what it cannot do. What only one transport has is tested beside it.

mod backlog;
mod dead;
mod delivery;
mod foreign;
mod lease;
mod loss;
mod restart;
mod settle;
mod stop;
mod talk;
mod trouble;

mod act;
mod holder;
mod stage;

mod memory;
mod rabbitmq;
mod redis;
mod sqlite;

use std::io::Write as _;
use std::time::Duration;

use stage::{Cannot, Shown, Stage, Transport};

/// Hands the table of behaviours to another macro, behind `$argument`.
macro_rules! behaviours {
    ($callback:ident $(, $argument:ty)?) => {
        $callback! { $($argument;)?
            delivery {
                a_task_is_delivered_once_and_forgotten_when_acked
                tasks_come_in_the_order_in_which_they_were_published
                a_consumer_gets_one_task_at_a_time
                many_consumers_share_the_tasks_and_none_comes_twice
                a_consumer_that_waits_gets_a_task_soon
                what_is_held_stays_held_while_its_holder_lives
            }
            foreign {
                a_bare_key_and_json_of_others_arrive_as_they_are
                a_normalised_body_becomes_exactly_one_message_with_an_id
                normalising_keeps_the_trace_and_the_time_of_the_first_publish
                a_body_that_is_no_utf8_stays_as_it_is_on_every_road
                a_body_of_200_kib_stays_as_it_is_on_every_road
                a_body_in_many_scripts_stays_as_it_is_on_every_road
                an_empty_body_stays_as_it_is_on_every_road
            }
            settle {
                a_retried_task_waits_at_least_as_long_as_asked
                a_long_wait_holds_up_no_short_one
                a_retry_counts_as_what_it_was
                a_retried_task_keeps_its_id_and_its_first_publish
                tasks_that_are_retried_alike_come_back_in_their_order
                a_released_task_is_there_at_once_with_its_counters
            }
            dead {
                a_dead_letter_shows_what_died_why_where_and_when
                a_dead_letter_counts_the_death_that_was_the_last
                letters_are_listed_oldest_first_and_no_more_than_asked
                looking_at_letters_takes_nothing_away
                a_letter_that_was_looked_at_can_be_replayed_at_once
                a_replayed_letter_is_the_same_task_at_its_first_attempt
                a_letter_without_an_id_can_be_replayed
                an_unknown_letter_is_neither_replayed_nor_discarded
                a_discarded_letter_is_gone_and_the_others_stay
                two_replays_at_once_leave_one_task
                copies_of_a_letter_become_one_task
                copies_of_a_letter_are_discarded_together
            }
            lease {
                a_lease_has_one_holder_among_all_clients
                a_lease_that_is_given_back_is_free_at_once
                a_lease_that_is_dropped_is_free_soon
                leases_on_different_keys_are_independent
                owner_and_repository_are_the_same_in_every_spelling
                a_deliverys_lease_is_lost_with_the_delivery
                a_late_holder_cannot_give_back_the_next_holders_lease
                a_dead_holders_lease_is_free_within_the_bound
            }
            loss {
                a_dropped_delivery_comes_back
                a_living_process_that_lets_go_counts_as_no_death
                a_delivery_whose_consumer_is_gone_settles_nothing_and_comes_back
                a_dead_holders_task_comes_back_and_its_death_is_counted
                every_death_is_counted_until_the_task_is_settled
                a_holder_that_was_frozen_knows_its_loss_and_retries_nothing
                a_holder_that_was_frozen_cannot_give_back_the_next_holders_lease
            }
            stop {
                a_stopped_consumer_keeps_what_it_holds_and_takes_no_more
                what_was_fetched_but_not_asked_for_goes_back_uncounted
                asking_for_the_next_can_be_given_up_at_any_moment
                closing_twice_is_fine_and_leaves_other_processes_alone
            }
            talk {
                an_order_reaches_every_listener_of_now_and_no_later_one
                an_order_needs_no_listener
                a_follower_sees_its_runs_in_order_and_no_others
                events_that_nobody_follows_hold_nobody_up
            }
            backlog {
                the_backlog_says_where_every_task_waits
                the_backlog_counts_what_workers_hold
            }
            trouble {
                a_task_for_a_queue_that_is_gone_is_refused_by_name
                a_queue_that_is_not_there_is_unreachable
            }
            restart {
                a_restart_of_the_server_loses_nothing_and_counts_no_death
            }
        }
    };
}
use behaviours;

/// Makes one test of each behaviour.
macro_rules! tests_on {
    ($transport:ty; $($group:ident { $($name:ident)* })*) => {$($(
        #[tokio::test]
        async fn $name() {
            let behaviour = async |stage: &dyn Stage| $group::$name(stage).await;
            check::<$transport>(stringify!($group), stringify!($name), behaviour).await;
        }
    )*)*};
}
use tests_on;

macro_rules! names {
    ($($group:ident { $($name:ident)* })*) => { &[$($(stringify!($name),)*)*] };
}

/// The names of all behaviours.
const BEHAVIOURS: &[&str] = behaviours!(names);

/// How long one behaviour may take, a busy machine included.
const AT_MOST: Duration = Duration::from_secs(90);
/// What a busy machine may add to a bound.
const BUSY: Duration = Duration::from_secs(4);

/// Shows a behaviour on a stage of its own, or that the transport cannot do it, which its table has to say.
async fn check<T: Transport>(group: &str, name: &str, behaviour: impl AsyncFnOnce(&dyn Stage) -> Shown) {
    // The server is taken down by one group only, and without the others.
    let stage = T::open(group == "restart").await;
    let shown = tokio::time::timeout(AT_MOST, behaviour(&stage)).await;
    let shown = shown.unwrap_or_else(|_| panic!("{name} took longer than {AT_MOST:?}"));
    let table = T::CANNOT.iter().find(|(behaviour, _)| *behaviour == name).map(|(_, cannot)| *cannot);
    match (shown, table) {
        (Ok(()), Some(Cannot(why))) => {
            panic!("it can: take `{name}` ({why}) off the table of what it cannot do")
        }
        (Err(Cannot(why)), None) => panic!("it cannot, and its table does not say so: {why}"),
        (shown, table) => assert_eq!(shown.err(), table),
    }
}

/// A line for whoever runs the tests with `--nocapture`.
fn say(line: &str) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{line}").unwrap();
}

fn names_what_it_cannot<T: Transport>() {
    let can = BEHAVIOURS.len() - T::CANNOT.len();
    say(&format!("{}: {can} of {} behaviours", T::NAME, BEHAVIOURS.len()));
    for (name, Cannot(why)) in T::CANNOT {
        assert!(BEHAVIOURS.contains(name), "{}: no behaviour is called `{name}`", T::NAME);
        say(&format!("{} cannot: {name}: {why}", T::NAME));
    }
}

#[test]
fn every_transport_names_what_it_cannot_do() {
    names_what_it_cannot::<rabbitmq::RabbitStage>();
    names_what_it_cannot::<redis::RedisStage>();
    names_what_it_cannot::<sqlite::SqliteStage>();
    names_what_it_cannot::<memory::MemoryStage>();
}

/// An address at which nobody listens.
async fn nobody_listens() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
