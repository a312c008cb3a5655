//! Random sequences of everything, against a map.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u16),
    Delete(u8),
    Flush,
    /// Close and open, folding always or never from then on.
    Reopen(bool),
    /// A crash that cuts so many bytes off the journal, the last unsynced writes.
    Crash(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6u8, any::<u16>()).prop_map(|(session, value)| Step::Put(session, value)),
        3 => (0..6u8).prop_map(Step::Delete),
        1 => Just(Step::Flush),
        2 => any::<bool>().prop_map(Step::Reopen),
        2 => prop_oneof![Just(0), 0..40u16, 0..2000u16].prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The store, its files, and what it should hold after each change since the journal was last empty.
struct Pair {
    dir: tempfile::TempDir,
    store: Option<FileSessionStore>,
    states: Vec<BTreeMap<String, String>>,
    folds: bool,
}

impl Pair {
    fn store(&self) -> &FileSessionStore {
        self.store.as_ref().unwrap()
    }

    fn expected(&self) -> BTreeMap<String, String> {
        self.states.last().unwrap().clone()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.dir.path(), if self.folds { &ALWAYS_FOLDS } else { &NO_FOLDS }));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put(number, value) => {
                let (name, value) = (format!("s{number}"), value.to_string());
                put(self.store(), session(&name, &value)).await;
                let mut next = self.expected();
                next.insert(name, value);
                self.states.push(next);
            }
            Step::Delete(number) => {
                let name = format!("s{number}");
                delete(self.store(), &name).await;
                let mut next = self.expected();
                if next.remove(&name).is_some() {
                    self.states.push(next);
                }
            }
            Step::Flush => self.store().flush().await.unwrap(),
            Step::Reopen(folds) => {
                self.folds = folds;
                self.reopen();
            }
            Step::Crash(cut) => self.crash(cut.into()).await,
        }
        assert_eq!(all(self.store()).await, self.expected());
    }

    async fn crash(&mut self, cut: usize) {
        if self.folds {
            // A copy of files that change would be no moment of theirs: only a store at rest is copied.
            self.folds = false;
            self.reopen();
        }
        self.store().flush().await.unwrap();
        self.dir = crashed(self.dir.path());
        let path = journal(self.dir.path());
        let text = fs::read(&path).unwrap();
        let left = &text[..text.len().saturating_sub(cut)];
        fs::write(&path, left).unwrap();
        let lines = |text: &[u8]| text.iter().filter(|it| **it == b'\n').count();
        let lost = lines(&text) - lines(left);
        self.states.truncate(self.states.len() - lost);
        self.reopen();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_that_lasts(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut pair = Pair { dir, store: None, states: vec![BTreeMap::new()], folds: false };
            pair.reopen();
            for step in steps {
                pair.step(step).await;
            }
            pair.reopen();
            assert_eq!(all(pair.store()).await, pair.expected());
        });
    }
}
