// Package host holds the ports through which the actors act on the machine, in
// our own words, and the kinds of failure that a port may tell of.
//
//	run-<n> ──▶ Folders   make and remove what a VM owns on disk
//	        ──▶ Driver    what to launch (pure), and a Session with the VMM
//	        ──▶ Launcher  processes: launch, find, kill, and the notice of their end
//	        ──▶ Links     the host's ends of its NICs
//	        ──▶ Agent     the guest agent
//	        ──▶ Console   the serial console's stream
//	        ──▶ Reach     the guest's ports, over the network
//	        ──▶ KernelLog whom the kernel killed
//	vm/<name> ▶ Bundles   the evidence of its deaths
//	tracker ──▶ Meter     what VMMs and the node use
//
// Adapters live in the folders below; fake is a whole world for tests.
package host

import (
	"context"
	"io"
	"time"

	"github.com/blixard/blixard/vm"
)

// Launcher starts VMMs that outlive the daemon.
type Launcher interface {
	// Name is "process" or "systemd".
	Name() string
	// Launch starts the command detached. Repeating it is safe: a live VMM of
	// the same vm.Ref is returned instead of a second one (P1).
	Launch(ctx context.Context, c Command) (vm.Process, error)
	// Find returns the live VMM of the incarnation, by proof (pid, start time,
	// boot id, tags); hint, if not nil, is what the record knows. Gone when none lives.
	Find(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Process, error)
	// Watch calls ended once, from a goroutine of its own, when the process is
	// gone; at once if it is gone already. What it held beside its process, as its
	// cgroup, may be there a moment longer; Kill waits for that. The cancel function
	// stops watching and leaves the process alone.
	Watch(p vm.Process, ended func(vm.Exit)) (cancel func())
	// Kill ends the VMM of the incarnation at once and returns when it is proved
	// gone, with what it and those before it held. Repeating it is safe: nothing alive is success (P8: by proof only).
	// It is final for the incarnation: a Launch of the same vm.Ref that is still
	// under way, or comes later, fails as Gone and leaves no process (P1, P7).
	Kill(ctx context.Context, ref vm.Ref, hint *vm.Process) error
	// Terminate asks the VMM of the incarnation to flush and end, by SIGTERM, and
	// doesn't wait for it (P8: by proof only). Repeating it is safe: nothing alive
	// is success.
	Terminate(ctx context.Context, ref vm.Ref, hint *vm.Process) error
	// Verdict is what is remembered of the end of an incarnation that no longer
	// lives: Gone where nothing is. Repeating it is safe: a Kill or a Launch of a
	// later incarnation forgets it, nothing else does.
	Verdict(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Exit, error)
	// List returns every live VMM that carries our tags.
	List(ctx context.Context) ([]vm.FoundVMM, error)
	// Holding says which of Command.Limits can't be held here, and why. It may
	// be some seconds old, and costs nothing.
	Holding() vm.Holding
}

// Command is one VMM to launch.
type Command struct {
	Ref     vm.Ref
	Argv    []string // Argv[0] is an absolute path
	Env     []string // KEY=VALUE; the launcher adds the identity tags
	Dir     string   // working directory: the run folder, or Paths.Core
	Sockets []Socket // made before the launch; the child inherits them listening
	Taps    []Tap    // opened before the launch; the child inherits them
	Files   []File   // the same, for reading
	Stdout  string   // file that takes the VMM's standard output; empty: the same as Stderr
	Stderr  string   // file that takes the VMM's standard error
	UID     int      // unprivileged user and group that the VMM runs as; 0 only where the daemon itself isn't root
	GID     int
	Groups  []int     // besides GID: the group of /dev/kvm, where the VMM needs it
	MaxFile vm.Bytes  // no file may grow beyond this (0: no limit): bounds the console's log while no daemon looks (P15)
	MaxCore vm.Bytes  // the core that the kernel makes of it may hold no more; 0: it makes none
	Limits  vm.Limits // what the VMM and its children are held to, as far as Launcher.Holding has nothing against it
	Needs   Needs
}

// Needs is what a VMM uses of the machine besides what it inherits. A launcher
// that can confine it lets nothing else through.
type Needs struct {
	Network  bool     // the host's network: for user-mode NICs
	JIT      bool     // it makes machine code and runs it, as TCG does
	Sockets  bool     // it makes unix sockets of its own, besides those that it inherits
	Devices  []string // opened by path: /dev/kvm, block devices
	Writable []string // files and folders that it opens for writing by path
}

// Socket is a listening unix socket that the VMM inherits. Where Argv says
// {fd:NAME}, the launcher puts the descriptor's number.
type Socket struct {
	Name string // qmp, agent, console
	Path string
}

// Tap is the host's end of a NIC, which the VMM inherits opened. Where Argv
// says {fd:NAME}, the launcher puts the descriptor's number.
type Tap struct {
	Name string // net0, net1, …
	Link string // see LinkName
}

// Links makes and removes the host's ends of the NICs.
type Links interface {
	// Ensure makes the taps of the incarnation as the spec wants them (owner,
	// group, alias, MTU, in their bridge, up), repairs what is wrong and tells
	// what it repaired, one sentence each. Repeating it is safe: what is right is
	// kept. A link of that name that isn't provably ours is Broken (P8), a bridge
	// that isn't there Transient.
	Ensure(ctx context.Context, ref vm.Ref, nics []vm.Network, uid, gid int) (repaired []string, err error)
	// Release removes the taps of the VM. Repeating it is safe: nothing there is success.
	Release(ctx context.Context, ref vm.Ref, nics []vm.Network) error
	// Watch tells of every tap of the incarnation that is taken away or cut off,
	// and of every damage after it was repaired, from a goroutine of its own.
	Watch(ref vm.Ref, nics []vm.Network, tell func(LinkNotice)) (cancel func())
	// List returns every link that carries the alias of this node.
	List(ctx context.Context) ([]vm.FoundLink, error)
	// Remove removes one link that List found, if it still is that one. Repeating it is safe.
	Remove(ctx context.Context, l vm.FoundLink) error
}

// LinkNotice is damage to a tap under a running guest, or the end of it: one
// that is neither Lost nor Broken says that the tap is whole, and what was
// repaired. Whatever breaks a tap for a moment only is told twice, as Broken and
// as whole.
type LinkNotice struct {
	Link   string
	Lost   bool   // it is gone for good: the VMM's descriptor is dead
	Broken bool   // the guest is cut off, as without its bridge, until a later notice of this link says otherwise
	Why    string // a sentence
}

// Driver knows one kind of VMM.
type Driver interface {
	// Command computes what to launch. It only reads files.
	Command(ref vm.Ref, spec vm.Spec, f Paths) (Command, error)
	// Attach opens the control session of a launched VMM and returns when the
	// VMM has answered. notice is called from the session's own goroutine, in
	// order; it must not block. Repeating it is safe: one session at a time.
	Attach(ctx context.Context, spec vm.Spec, f Paths, notice func(Notice)) (Session, error)
	// Prepare makes what this kind of VMM needs beside the folders: a build, links
	// by its own scripts. It comes after Folders.Prepare, before each launch.
	// Repeating it is safe: what is right is kept.
	Prepare(ctx context.Context, ref vm.Ref, spec vm.Spec, f Paths) error
	// Release takes back what Prepare made and a VM at rest must not hold (P7),
	// before Folders.Release. Repeating it is safe: nothing there is success.
	Release(ctx context.Context, ref vm.Ref, spec vm.Spec, f Paths) error
	// Loads says why this VMM can't load a guest that was saved: Broken where
	// another kind or version of it has saved it.
	Loads(spec vm.Spec, s vm.SavedState) error
}

// Session is an open control session with one VMM (QMP).
type Session interface {
	// State is what the VMM says of the guest now.
	State(ctx context.Context) (GuestState, error)
	// PowerDown presses the ACPI button. Repeating it is safe.
	PowerDown(ctx context.Context) error
	// VCPUs are the threads of the VMM that run the guest's processors, by their
	// ids in /proc and in the processors' order; several processors may share one.
	// Empty, or Broken: this VMM doesn't tell. It is the VMM's own word: whether a
	// thread is its own, Meter.VCPUs says.
	VCPUs(ctx context.Context) (threads []int, err error)
	// Pause and Resume stop and continue the vCPUs. Repeating them is safe. Resume
	// gives up a saving that is under way, whoever began it.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Reset presses the machine's reset button and lets it run, also where its
	// guest had panicked, and returns when it boots. Repeating it is safe, and
	// resets again. A VMM that has no such button is Broken.
	Reset(ctx context.Context) error
	// Kind is the kind and version of the VMM, as Driver.Loads knows it.
	Kind(ctx context.Context) (string, error)
	// Save stops the guest and writes all of it. The guest stands still afterwards, also where it failed.
	// Repeating it is safe: an earlier saving that is under way is given up.
	Save(ctx context.Context, into io.Writer) error
	// Loaded returns when the guest that the VMM was launched with is whole in it.
	// It stands still until Resume. A VMM that can't load it ends: Gone.
	Loaded(ctx context.Context) error
	// Dump writes the guest's memory, in the format that is asked for (empty:
	// kdump), while the guest stands still, and leaves the guest as it was. What
	// into refuses ends it. When ctx ends, the guest goes on as before, or the
	// error is Broken, as it still stands. Repeating it is safe: an earlier dump
	// that is under way is waited for.
	Dump(ctx context.Context, format vm.DumpFormat, into io.Writer) error
	Ballooning
	// Quit asks the VMM to flush and end. Repeating it is safe.
	Quit(ctx context.Context) error
	// Close lets go of the session; the VMM lives on (P6).
	Close()
}

// GuestState is the VMM's own word on its guest.
type GuestState string

// The states that matter to us; all others are GuestOther.
const (
	GuestRuns     GuestState = "running"
	GuestPaused   GuestState = "paused"
	GuestOff      GuestState = "shutdown"
	GuestPanicked GuestState = "guest-panicked"
	GuestIOError  GuestState = "io-error"
	GuestLoading  GuestState = "inmigrate"      // a saved guest is being loaded
	GuestSaved    GuestState = "postmigrate"    // it was saved, and stands still
	GuestNoSpace  GuestState = "no-space"       // halted, as a disk of it can't grow
	GuestHung     GuestState = "watchdog"       // halted, as nobody in it fed its watchdog
	GuestBroken   GuestState = "internal-error" // halted, as its VMM can't run it on
	GuestOther    GuestState = "other"
)

// NoticeKind is the kind of a Notice.
type NoticeKind string

// The notices.
const (
	NoticePowerOff NoticeKind = "poweroff"       // the guest turned itself off; the VMM stands still and waits for our Quit
	NoticeReset    NoticeKind = "reset"          // the guest reset itself and boots again in place
	NoticeResetEnd NoticeKind = "reset-end"      // the guest reset itself, and its VMM ends by that
	NoticePanic    NoticeKind = "panic"          // the guest said that it panicked; the VMM stands still
	NoticeIOError  NoticeKind = "io-error"       // a disk failed and the VMM stands still
	NoticeNoSpace  NoticeKind = "no-space"       // a disk can't grow and the VMM stands still; it goes on by Resume
	NoticeWatchdog NoticeKind = "watchdog"       // nobody in the guest fed its watchdog, and the VMM stands still
	NoticeBroken   NoticeKind = "internal-error" // the VMM can't run the guest on, and stands still
	NoticeCrashed  NoticeKind = "crash-kernel"   // the guest panicked, and a crash kernel of its own goes on
	NoticeLost     NoticeKind = "lost"           // the session ended without Close
)

// Notice is something that a VMM told of its guest.
type Notice struct {
	Kind   NoticeKind
	Detail string // bounded; may hold text of the guest
	At     time.Time
}

// Agent talks to the guest agent.
type Agent interface {
	// Open connects to the agent's socket. It does not wait for the guest.
	Open(ctx context.Context, f Paths) (AgentConn, error)
}

// AgentConn is one connection to one guest agent. A guest is hostile: every
// answer is bounded in size and time.
type AgentConn interface {
	// Ping returns nil when the agent has answered in sync. A ping sent before
	// the guest is up is answered the moment that its agent opens the port.
	Ping(ctx context.Context) error
	// Shutdown asks the guest to power off. No answer is promised.
	Shutdown(ctx context.Context) error
	// Exec runs a command in the guest and returns what it wrote, bounded.
	Exec(ctx context.Context, argv []string) (ExecResult, error)
	// SetTime sets the guest's clock to what now says the moment before it is
	// sent: an agent may take long to listen. Repeating it is safe.
	SetTime(ctx context.Context, now func() time.Time) error
	Close()
}

// ExecResult is what a command in the guest did.
type ExecResult struct {
	Code           int
	Stdout, Stderr []byte
	Truncated      bool
}

// ConsoleEnd as an offset follows only what comes from now on.
const ConsoleEnd int64 = -1

// Console follows consoles without polling.
type Console interface {
	// Follow calls chunk, from one goroutine and in order, with what the file of
	// this incarnation holds from offset on and with all that comes; it keeps the
	// file bounded. cancel ends it and waits for nothing.
	Follow(f Paths, offset int64, chunk func(b []byte)) (cancel func(), err error)
	// Tail returns at most n last bytes of the incarnation's console.
	Tail(f Paths, n int) ([]byte, error)
	// Type writes to the guest as a person at its console would, and returns when
	// ctx ends, as the VMM takes what is typed only while somebody is there.
	// Denied where a person is at the console: it takes one at a time. Repeating
	// it types again.
	Type(ctx context.Context, f Paths, text string) error
}

// Folders makes and removes what a VM owns on disk.
type Folders interface {
	States
	Paths(ref vm.Ref) Paths
	// Prepare makes folder, disks, image and manifest ready. Repeating it is
	// safe: what exists is kept. It removes logs of incarnations that are too old.
	Prepare(ctx context.Context, r vm.Record) error
	// Release removes the run folder. Repeating it is safe.
	Release(ctx context.Context, ref vm.Ref) error
	// Discard removes the VM's folder and the disks in it (P14). Repeating it is safe.
	Discard(ctx context.Context, ref vm.Ref) error
}

// Salvage looks at all folders at once, for the reconciler and for the day that
// the store is lost.
type Salvage interface {
	// List returns every folder of a VM, durable or run, sorted by name. One that
	// can't be read hides no other (P13).
	List(ctx context.Context) ([]vm.FoundFolder, error)
	// Quarantine moves a durable folder aside, whole, and says under which name
	// (P14). It moves what List found, or nothing.
	Quarantine(ctx context.Context, f vm.FoundFolder) (name string, err error)
	// Restore moves it back; Gone where nothing of that name is aside, Broken
	// where its place is taken. Repeating it is safe.
	Restore(ctx context.Context, name string) error
}

// Machine tells of the machine that the node runs on.
type Machine interface {
	// Pressure is read anew at each call; an error means that the kernel doesn't tell.
	Pressure() (Pressure, error)
	// Cores is how many processors the daemon may use.
	Cores() int
	// Capacity is what the daemon may use now, read anew at each call; it may wait
	// for the disk. held is what the disks that we made for VMs hold of has.Disk.
	Capacity() (has vm.Capacity, held vm.Bytes, err error)
	// Room is what may still be written on the filesystem of a file or folder; it
	// may wait for the disk.
	Room(path string) (vm.Bytes, error)
}

// Pressure is the share of the last ten seconds, in percent, in which work
// stood still for want of something (the kernel's "some", PSI).
type Pressure struct {
	CPU, Memory, IO float64

	MemoryStood, IOStood time.Duration // the time itself, since the machine's boot: two readings tell of what lies between
}

// Meter tells what VMMs and the node use. It only reads.
type Meter interface {
	// Read looks at all of them in one pass. One that is gone, or that isn't
	// provably the process that is told of, is left out and hides no other. What
	// the kernel doesn't tell is zero. One call at a time.
	Read(ctx context.Context, of []vm.Metered) (map[vm.ID]vm.Counters, error)
	// Node looks at the machine; rates are not its business. What the kernel
	// doesn't tell is zero.
	Node(ctx context.Context) (vm.NodeUsage, error)
	// Look glances at one VMM, from any goroutine. A zombie is told of; Gone where
	// that process, by proof (P8), isn't there any more, Denied where we may not look.
	Look(p vm.Process) (vm.Glance, error)
	// VCPUs looks at threads of one VMM, from any goroutine, and tells of each in
	// the order given: one that isn't that process's has no state. Gone and Denied
	// as with Look.
	VCPUs(p vm.Process, threads []int) ([]vm.VCPU, error)
	// Argv is the command line of one VMM as the kernel has it, bounded. A VMM may
	// have written another one over it. Gone and Denied as with Look.
	Argv(p vm.Process) ([]string, error)
}

// KernelLog is what the kernel of the machine has told of late.
type KernelLog interface {
	// Killed is the line by which the kernel killed the process for want of
	// memory, not long before since; empty where it has told of none. It may take
	// some milliseconds. Denied where nobody may read the log. Repeating it is
	// safe: it only reads.
	Killed(ctx context.Context, pid int, since time.Time) (line string, err error)
}

// Clock tells the time and rings.
type Clock interface {
	Now() time.Time
	// After calls f once, from a goroutine of its own, unless it is cancelled first.
	After(d time.Duration, f func()) (cancel func())
}

// Ports is everything the actors need of the machine.
type Ports struct {
	Launcher Launcher
	Driver   Driver
	Agent    Agent
	Console  Console
	Folders  Folders
	Salvage  Salvage
	Links    Links
	Machine  Machine
	Meter    Meter     // nil: nothing is measured
	Log      KernelLog // nil: nobody may read it
	Bundles  Bundles   // nil: of a death nothing is kept but its record
	Reach    Reach
	Clock    Clock
	Owners   Owners
	BootID   vm.BootID
	Spread   func() float64 // a random number in [0,1) for jitter
}
