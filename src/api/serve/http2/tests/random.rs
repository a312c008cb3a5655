//! Whatever frames come, the connection answers or ends.

use proptest::{
    prelude::{any, *},
    test_runner::{TestCaseResult, TestRunner},
};

use super::*;

const PATHS: [&str; 6] = ["/read", "/hold", "/drop", "/think", "/early", "/endless"];
/// Streams that are talked about.
const STREAMS: u32 = 6;

/// What a client may say about one of its streams, in an order that the protocol allows.
#[derive(Debug, Clone)]
enum Step {
    Data { length: usize, padding: Option<u8> },
    Window(u32),
    Priority,
    Settings { window: u32, table: u32 },
    Ping,
    Unknown(u8),
    Trailers,
    End,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20_000_usize, prop::option::of(any::<u8>())).prop_map(|(length, padding)| Step::Data { length: length.min(16_000), padding }),
        2 => (1..100_000_u32).prop_map(Step::Window),
        1 => Just(Step::Priority),
        1 => (0..100_000_u32, 0..10_000_u32).prop_map(|(window, table)| Step::Settings { window, table }),
        1 => Just(Step::Ping),
        1 => (10..=255_u8).prop_map(Step::Unknown),
        1 => Just(Step::Trailers),
        3 => Just(Step::End),
        1 => Just(Step::Reset),
    ]
}

/// A frame that may mean anything.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::collection::vec(Just(0), 0..9),
        (0..PATHS.len()).prop_map(|it| request("POST", PATHS[it], &[])),
        any::<u32>().prop_map(|it| it.to_be_bytes().to_vec()),
    ];
    (0..11_u8, any::<u8>(), 0..2 * STREAMS, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

fn run<T: std::fmt::Debug>(
    cases: u32,
    strategy: impl Strategy<Value = T>,
    case: impl AsyncFn(&Server, T) -> TestCaseResult,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settings = ListenSettings { max_streams: STREAMS, ..ListenSettings::default() };
    let server = runtime.block_on(Server::new(router(), settings));
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 30,
        ..ProptestConfig::default()
    });
    let result = runner.run(&strategy, |it| {
        runtime.block_on(async {
            case(&server, it).await?;
            server.has_let_all_go().await;
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// A client that keeps the rules is answered on every stream that it has not given up.
#[test]
fn a_client_that_keeps_the_rules_is_answered() {
    let streams =
        prop::collection::vec((0..PATHS.len(), prop::collection::vec(step(), 0..12)), 1..STREAMS as usize);
    run(150, (streams, any::<u64>()), async |server, (streams, mut seed)| {
        let mut peer = Peer::connect(server.address, &[]).await;
        peer.round_trip().await;
        let mut steps: Vec<_> = Vec::new();
        for ((path, mut its), number) in streams.into_iter().zip((1..).step_by(2)) {
            peer.write(&post(number, PATHS[path], &[])).await;
            its.push(Step::End);
            steps.push((number, PATHS[path], its, 0));
        }
        let mut expected = Vec::new();
        while !steps.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = (seed >> 33) as usize % steps.len();
            let (number, path, its, sent) = &mut steps[place];
            let step = its.remove(0);
            let trailers = match step {
                Step::Trailers => Some(1),
                Step::End => Some(0),
                _ => None,
            };
            let over = trailers.is_some() || matches!(step, Step::Reset);
            take(&mut peer, *number, step, sent).await;
            match (trailers, *path) {
                (Some(trailers), "/read") => expected.push((*number, format!("{trailers} {sent}"))),
                (Some(_), "/early") => expected.push((*number, "early".to_owned())),
                _ => {}
            }
            if over {
                steps.remove(place);
            }
        }
        peer.write(&[settings(&[(INITIAL_WINDOW_SIZE, 100_000)]), window(0, 1 << 24)].concat()).await;
        for (number, body) in expected {
            let told = peer.ended(number).await;
            prop_assert_eq!(told.status(), 200);
            prop_assert_eq!(String::from_utf8_lossy(&told.body), body);
        }
        peer.round_trip().await;
        prop_assert!(peer.farewells.is_empty(), "{:?}", peer.farewells);
        Ok(())
    });
}

async fn take(peer: &mut Peer, stream: u32, step: Step, sent: &mut usize) {
    let bytes = match step {
        Step::Data { length, padding } => {
            let padded = length + padding.map_or(0, |it| 1 + usize::from(it));
            // Bodies that nobody reads come to the end of their window.
            if peer.window_of(stream) < padded as i64 || peer.window < padded as i64 {
                return;
            }
            peer.spend(stream, padded);
            *sent += length;
            match padding {
                None => frame(DATA, 0, stream, &vec![b'x'; length]),
                Some(padding) => {
                    let payload =
                        [&[padding][..], &vec![b'x'; length], &vec![0; usize::from(padding)]].concat();
                    frame(DATA, PADDED, stream, &payload)
                }
            }
        }
        Step::Window(by) => window(stream, by),
        Step::Priority => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]),
        Step::Settings { window, table } => {
            settings(&[(INITIAL_WINDOW_SIZE, window), (HEADER_TABLE_SIZE, table)])
        }
        Step::Ping => frame(PING, 0, 0, b"12345678"),
        Step::Unknown(kind) => frame(kind, 0xff, stream, b"whatever"),
        Step::Trailers => frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&[("a", "b")])),
        Step::End => frame(DATA, END_STREAM, stream, &[]),
        Step::Reset => reset(stream),
    };
    peer.write(&bytes).await;
}

/// Frames that mean anything, of which some octets were changed, in whatever pieces they come.
#[test]
fn whatever_comes_the_connection_answers_or_ends() {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let frames = prop::collection::vec(anything(), 0..40);
    let all = (frames, changes, any::<prop::sample::Index>(), any::<bool>());
    run(400, all, async |server, (frames, changes, cut, begins)| {
        let mut bytes = frames.concat();
        if begins {
            let begin = [get(1, "/read"), post(3, "/hold", &[]), get(5, "/endless")].concat();
            bytes.splice(..0, begin);
        }
        for (place, octet) in changes {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = octet;
            }
        }
        let mut peer = Peer::connect(server.address, &[]).await;
        let (first, rest) = bytes.split_at(cut.index(bytes.len() + 1));
        peer.write(first).await;
        tokio::task::yield_now().await;
        peer.write(rest).await;
        peer.write(&frame(PING, 0, 0, b"the end?")).await;
        peer.end_writing().await;
        peer.closed().await;
        Ok(())
    });
}
