//! Windows: what is sent is read and told, for every stream and for the connection.

use super::*;

#[tokio::test]
async fn bodies_that_are_cut_before_they_were_read_take_nothing_from_the_window() {
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(2).take(12) {
        peer.write(&post(stream, "/hold", &[])).await;
        peer.upload(stream, &[0; 200 << 10], false).await;
        peer.write(&reset(stream)).await;
    }
    uploads(&mut peer, 101, 2 << 20).await;
}

#[tokio::test]
async fn bodies_that_nobody_reads_any_more_take_nothing_from_the_window() {
    let mut peer = peer(&[]).await;
    for stream in [1, 3, 5, 7, 9] {
        peer.write(&post(stream, "/drop", &[])).await;
    }
    peer.round_trip().await;
    for stream in [1, 3, 5, 7, 9] {
        peer.upload(stream, &[0; 1 << 20], false).await;
    }
    uploads(&mut peer, 101, 2 << 20).await;
}

#[tokio::test]
async fn padding_comes_back_at_once() {
    let mut peer = peer(&[]).await;
    peer.write(&post(1, "/read", &[])).await;
    let padding = [&[255][..], &[0; 255]].concat();
    let padded = frame(DATA, PADDED, 1, &padding);
    for _ in 0..2 * STREAM_WINDOW / padding.len() {
        while peer.window.min(peer.window_of(1)) < padding.len() as i64 {
            timeout(SOON, peer.next()).await.expect("the window grows").expect("the connection goes on");
        }
        peer.write(&padded).await;
        peer.spend(1, padding.len());
    }
    peer.upload(1, b"abc", true).await;
    assert_eq!(peer.ended(1).await.body, b"0 3");
}

/// Each of them is small, and none is answered yet.
#[tokio::test]
async fn many_small_bodies_that_were_read_do_not_fill_the_window() {
    let mut peer = peer(&[]).await;
    for stream in (1..).step_by(2).take(200) {
        peer.write(&post(stream, "/think", &[])).await;
        peer.upload(stream, &[0; 15 << 10], true).await;
    }
    uploads(&mut peer, 1001, 1 << 20).await;
}

#[tokio::test]
async fn a_window_never_grows_by_more_than_was_sent() {
    let mut peer = peer(&[]).await;
    peer.round_trip().await;
    let (begin, mut sent) = (peer.granted, 0);
    for stream in (1..).step_by(2).take(150) {
        // Ends before it is as long as it said.
        peer.write(&post(stream, "/hold", &[("content-length", "20000")])).await;
        peer.upload(stream, &[0; 10_000], true).await;
        sent += 10_000;
        assert_eq!(peer.ended(stream).await.reset, Some(PROTOCOL_ERROR));
    }
    peer.round_trip().await;
    let granted = peer.granted - begin;
    assert!((sent - (1 << 20)..=sent).contains(&granted), "{granted} for {sent}");
}

#[tokio::test]
async fn streams_share_a_window_that_opens_little_by_little() {
    let mut peer = peer(&[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)]).await;
    for stream in [1, 3, 5, 7] {
        peer.write(&get(stream, "/endless")).await;
    }
    let length = |peer: &Peer| peer.streams.values().map(|it| it.body.len()).sum::<usize>();
    let mut awaited = 65_535;
    for _ in 0..400 {
        while length(&peer) < awaited {
            timeout(SOON, peer.next()).await.expect("data comes").expect("the connection goes on");
        }
        peer.write(&window(0, 500)).await;
        awaited += 500;
    }
    let lengths: Vec<_> = peer.streams.values().map(|it| it.body.len()).collect();
    assert!(lengths.iter().all(|it| *it > 40_000), "{lengths:?}");
}

#[tokio::test]
async fn data_beyond_the_window_ends_its_stream_or_the_connection() {
    let mut one = peer(&[]).await;
    one.write(&post(1, "/hold", &[])).await;
    one.upload(1, &[0; STREAM_WINDOW], false).await;
    one.write(&frame(DATA, 0, 1, b"x")).await;
    assert_eq!(one.ended(1).await.reset, Some(FLOW_CONTROL_ERROR));
    one.round_trip().await;
    let mut peer = peer(&[]).await;
    for stream in [1, 3, 5, 7] {
        peer.write(&post(stream, "/hold", &[])).await;
        peer.upload(stream, &[0; STREAM_WINDOW], false).await;
    }
    peer.round_trip().await;
    peer.write(&[post(9, "/hold", &[]), frame(DATA, 0, 9, b"x")].concat()).await;
    assert_eq!(peer.closed().await, Some(FLOW_CONTROL_ERROR));
}

#[tokio::test]
async fn a_window_that_is_made_smaller_may_be_below_nothing() {
    let mut peer = peer(&[(INITIAL_WINDOW_SIZE, 50_000)]).await;
    peer.write(&[get(1, "/endless"), window(0, 1 << 20)].concat()).await;
    let length = |peer: &Peer| peer.streams.get(&1).map_or(0, |it| it.body.len());
    let reads_to = async |peer: &mut Peer, awaited| {
        while length(peer) < awaited {
            timeout(SOON, peer.next()).await.expect("data comes").expect("the connection goes on");
        }
        peer.round_trip().await;
        assert_eq!(length(peer), awaited);
    };
    reads_to(&mut peer, 50_000).await;
    peer.write(&settings(&[(INITIAL_WINDOW_SIZE, 10)])).await;
    peer.write(&window(1, 49_990)).await;
    reads_to(&mut peer, 50_000).await;
    peer.write(&window(1, 7)).await;
    reads_to(&mut peer, 50_007).await;
    peer.write(&settings(&[(INITIAL_WINDOW_SIZE, 1010)])).await;
    reads_to(&mut peer, 51_007).await;
    // New streams begin with what was told last.
    peer.write(&get(3, "/endless")).await;
    while peer.streams.get(&3).is_none_or(|it| it.body.len() < 1010) {
        timeout(SOON, peer.next()).await.expect("data comes").expect("the connection goes on");
    }
    peer.write(&settings(&[(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, (1 << 31) - 1)])).await;
    peer.write(&window(1, (1 << 31) - 1)).await;
    assert_eq!(peer.ended(1).await.reset, Some(FLOW_CONTROL_ERROR));
}

#[tokio::test]
async fn answers_come_whole_through_a_window_of_one_byte() {
    let mut peer = peer(&[(INITIAL_WINDOW_SIZE, 1)]).await;
    for stream in [1, 3, 5] {
        peer.write(&post(stream, "/read", &[])).await;
        peer.upload(stream, &[0; 100_000], true).await;
    }
    for stream in [1, 3, 5].repeat(7) {
        peer.write(&window(stream, 1)).await;
        peer.round_trip().await;
    }
    for stream in [1, 3, 5] {
        assert_eq!(peer.ended(stream).await.body, b"0 100000");
    }
}
