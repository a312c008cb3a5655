//! Tells those who follow whole sessions that something has happened in them.

use std::collections::HashMap;

use tokio::sync::watch;

use crate::model::SessionId;

/// One channel for each session that is followed. Bounded by the followers: what nobody follows any more is dropped at
/// the next change, or when the map has doubled.
#[derive(Debug, Default)]
pub(super) struct SessionHints {
    followed: HashMap<SessionId, watch::Sender<u64>>,
    sweep_at: usize,
}

/// Those who follow a session, who are to be woken.
#[derive(Debug)]
pub(super) struct SessionFollowers(watch::Sender<u64>);

/// Below this many channels nobody looks for abandoned ones.
const FEW: usize = 64;

impl SessionHints {
    /// Follows a session, whether it has runs or not.
    pub(super) fn follow(&mut self, session_id: &SessionId) -> watch::Receiver<u64> {
        if self.followed.len() >= self.sweep_at.max(FEW) {
            self.followed.retain(|_, it| it.receiver_count() > 0);
            self.sweep_at = 2 * self.followed.len();
        }
        self.followed.entry(session_id.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those who follow the session.
    pub(super) fn changed(&mut self, session_id: &SessionId) {
        if let Some(followers) = self.followers(session_id) {
            followers.wake();
        }
    }

    /// Those who follow the session, if anybody does.
    pub(super) fn followers(&mut self, session_id: &SessionId) -> Option<SessionFollowers> {
        let hint = self.followed.get(session_id)?;
        if hint.receiver_count() > 0 {
            return Some(SessionFollowers(hint.clone()));
        }
        self.followed.remove(session_id);
        None
    }
}

impl SessionFollowers {
    pub(super) fn wake(self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn followers_of_a_session_are_woken_and_abandoned_channels_are_dropped() {
        let mut hints = SessionHints::default();
        let one = SessionId::new(Uuid::from_u128(1));
        let follower = hints.follow(&one);
        for number in 0..1000 {
            drop(hints.follow(&SessionId::new(Uuid::from_u128(number + 2))));
        }
        assert!(hints.followed.len() <= 2 * FEW);
        assert!(!follower.has_changed().unwrap());
        hints.changed(&one);
        assert!(follower.has_changed().unwrap());
        drop(follower);
        hints.changed(&one);
        assert!(!hints.followed.contains_key(&one));
    }
}
