//! What must hold in every world: each rule by the name that a violation carries, once.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(super) const $name: &str = $text;)*
        /// Everything that is looked at while a world runs, by the name that a [`Violation`](super::Violation) carries.
        pub const RULES: &[&str] = &[$($text),*];
    };
}

rules! {
    ACKNOWLEDGED = "no acknowledged event is lost";
    READABLE = "what is durable can be read";
    REPLAYS = "a journal replays";
    SAME_STATE = "a checkpoint, the events and the living engine say the same";
    OPENS = "a node opens again after any death";
    DECIDES = "an engine decides only what it may";
    EXISTS = "a job that was answered exists";
    RECORDED = "what is recorded is what was asked for";
    ONE_ACTIVE = "one active job per database";
    ENDS_ONCE = "an end never changes";
    CANCELLED = "a cancel that was answered ends in CANCELLED";
    TIMES_OUT = "a job times out when its time is over, and not before";
    HAS_REASON = "a job is cancelled only for a reason";
    ENDS = "every job ends once there is no more trouble";
    CREDITS = "no more tasks run than there are credits";
    QUEUES = "no more waits for the dispatcher than was started";
    NONSENSE = "nonsense is refused";
    LOADS = "loads are refused only where they must be";
    DROPS = "drops are refused only where they must be";
    PINNED = "what is pinned can be read";
    PIN_RECORDED = "a recorded pin was taken";
    BACKUP_ACCEPTED = "a finished backup was accepted";
    ONE_SNAPSHOT = "one finished snapshot per label";
    VISIBLE = "what is visible in the repository is a finished backup";
    WHOLE = "a finished snapshot is whole";
    RESTORABLE = "a finished snapshot can be restored";
    TARGETS = "a restore takes in all that was asked for, and drops nothing else";
    HAS_TARGETS = "a commit has targets";
    COMMIT_ALLOWED = "a commit begins only after its event is durable";
    FINISHED = "a restore is FINISHED after its commit, and only then";
    BROUGHT = "a restore brings back exactly what was pinned";
    TABLES = "tables hold what users loaded and commits brought, wholly";
    LEFT_IN_REPOSITORY = "nothing of an ended job is left in the repository";
    LEFT_IN_STORAGE = "nothing of an ended job is left in the storage";
    LEFT_ON_NODE = "nothing of an ended job is left on the node";
    /// The name of the rule that nothing panics.
    NO_PANIC = "nothing panics";
}
