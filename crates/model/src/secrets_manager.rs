//! Secrets Manager: the versions of one secret, and the operator who moves the labels.

/// A version of the secret. Its number is its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// False if the operator put text that is no usable secret.
    pub is_usable: bool,
    /// The tick since which the version has had a label without a break.
    pub labelled: Option<u8>,
    /// The tick in which the version lost its label.
    pub lost: Option<u8>,
    /// The operator has moved `AWSCURRENT` back to another version before the sender switched to this one. So the sender
    /// does not switch.
    is_withdrawn: bool,
}

/// The secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretsManager {
    versions: Vec<Version>,
    /// The version with the label `AWSCURRENT`.
    current: u8,
    /// The version with the label `AWSPREVIOUS`.
    previous: Option<u8>,
}

impl SecretsManager {
    /// A secret with one version, which has had its label since tick 0.
    pub fn new() -> Self {
        let version = Version {
            is_usable: true,
            labelled: Some(0),
            lost: None,
            is_withdrawn: false,
        };
        Self {
            versions: vec![version],
            current: 0,
            previous: None,
        }
    }

    pub fn current(&self) -> u8 {
        self.current
    }

    pub fn previous(&self) -> Option<u8> {
        self.previous
    }

    /// The number of versions so far.
    pub fn count(&self) -> u8 {
        u8::try_from(self.versions.len()).unwrap_or(u8::MAX)
    }

    pub fn version(&self, number: u8) -> Version {
        self.versions[usize::from(number)]
    }

    /// The operator puts a version, which becomes the current one.
    pub fn put(&mut self, is_usable: bool, now: u8) {
        self.versions.push(Version {
            is_usable,
            labelled: None,
            lost: None,
            is_withdrawn: false,
        });
        self.make_current(self.count() - 1, now);
    }

    /// The operator makes the previous version the current one again. The sender uses a new version `wait` ticks after it was
    /// put. Returns the number of the version.
    pub fn move_back(&mut self, wait: u8, now: u8) -> Option<u8> {
        let number = self.previous?;
        let newer = &mut self.versions[usize::from(self.current)];
        newer.is_withdrawn = newer.labelled.is_none_or(|since| since + wait > now);
        let older = &mut self.versions[usize::from(number)];
        if older.is_withdrawn {
            (older.is_withdrawn, older.labelled) = (false, Some(now));
        }
        self.make_current(number, now);
        Some(number)
    }

    /// Moves `AWSCURRENT` to a version. Secrets Manager then moves `AWSPREVIOUS` to the version that was current
    /// (`UpdateSecretVersionStage` in its API reference).
    fn make_current(&mut self, number: u8, now: u8) {
        self.previous = Some(self.current);
        self.current = number;
        self.note_labels(now);
    }

    /// The operator takes the label `AWSPREVIOUS` away.
    pub fn revoke(&mut self, now: u8) {
        self.previous = None;
        self.note_labels(now);
    }

    /// Makes every time that is before `tick` the same time, because nobody can tell such times apart any more. So the model
    /// has fewer states.
    pub fn forget_before(&mut self, tick: u8) {
        for version in &mut self.versions {
            version.labelled = version.labelled.map(|since| since.max(tick));
            version.lost = version.lost.map(|lost| lost.max(tick));
        }
    }

    fn note_labels(&mut self, now: u8) {
        for (number, version) in (0..).zip(&mut self.versions) {
            let is_labelled = number == self.current || Some(number) == self.previous;
            match version.labelled {
                None if is_labelled => (version.labelled, version.lost) = (Some(now), None),
                Some(_) if !is_labelled => (version.labelled, version.lost) = (None, Some(now)),
                _ => {}
            }
        }
    }

    /// Returns true if the receiver must accept a delivery that was signed with a version at `now`: the version is the
    /// current or the previous one, and the sender began to use it `wait` ticks after the version got its label.
    pub fn is_promised(&self, number: u8, wait: u8, now: u8) -> bool {
        let version = self.version(number);
        version.is_usable
            && !version.is_withdrawn
            && version.labelled.is_some_and(|since| since + wait <= now)
    }
}
