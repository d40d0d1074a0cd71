package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// The guest leaves by a pipe, so that nothing but the daemon writes into the
// host's files: what QEMU may write is bounded by who reads, and its own limit
// on the size of files (host.Command.MaxFile) stands.
//
//	QEMU ── fd:saved ──▶ pipe ──▶ Save ──▶ host.StateFile
//
// A saving is QEMU's migration of a guest that stands still. Its steps come as
// MIGRATION events, so nothing is asked again and again.

// pipeBytes is how much QEMU writes ahead: the most that an unprivileged process
// may ask for by default (/proc/sys/fs/pipe-max-size).
const pipeBytes = 1 << 20

// unlimited lifts QEMU's limit on the speed of migrations, 128 MiB/s by default;
// it is half of the largest that QEMU takes.
const unlimited = int64(1) << 62

// giveUpBound is how long QEMU may take to give up a migration.
const giveUpBound = 10 * time.Second

// The states of a migration in which it is over, as query-migrate tells them.
// None is said of a QEMU that never began one.
const (
	migrationNone      = ""
	migrationCompleted = "completed"
	migrationFailed    = "failed"
	migrationCancelled = "cancelled"
)

var errSaveCut = errors.New("QEMU gave the saving up")

// Save halts the guest and writes it; see host.Session.
func (s *session) Save(ctx context.Context, into io.Writer) error {
	if err := s.tellMigration(ctx); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.Pause(ctx); err != nil {
		return err
	}
	if _, err := s.call(ctx, "migrate-set-parameters", map[string]int64{"max-bandwidth": unlimited}); err != nil {
		return err
	}
	out, err := s.pipe(ctx, savedName)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := s.stream(ctx, out, into); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpBound)
		defer cancel()
		return errors.Join(err, s.giveUp(stop))
	}
	return nil
}

// stream lets QEMU write and takes what comes until QEMU has closed the pipe.
func (s *session) stream(ctx context.Context, out *os.File, into io.Writer) error {
	if _, err := s.call(ctx, "migrate", map[string]string{"uri": "fd:" + savedName}); err != nil {
		return err
	}
	if err := take(ctx, out, into); err != nil {
		return host.Fail(host.Transient, "write the guest", err)
	}
	end, err := s.migrated(ctx)
	if err == nil && end != migrationCompleted {
		err = host.Fail(host.Transient, "write the guest", fmt.Errorf("%w: %s", errSaveCut, end))
	}
	return err
}

// take copies what comes through a pipe until its other end is closed, or ctx ends.
func take(ctx context.Context, out *os.File, into io.Writer) error {
	defer context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Unix(1, 0)) })()
	_, err := io.CopyBuffer(onlyWriter{into}, onlyReader{out}, make([]byte, pipeBytes))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return err
}

// savedName is what QEMU knows the pipe by.
const savedName = "saved"

// pipe hands QEMU the writing end of a new pipe and returns the other one.
func (s *session) pipe(ctx context.Context, name string) (*os.File, error) {
	const doing = "make a pipe for the guest"
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, host.Fail(host.Transient, doing, err)
	}
	_ = unix.SetNonblock(ends[0], true) // so that its reader can be woken
	out := os.NewFile(uintptr(ends[0]), name)
	_, _ = unix.FcntlInt(uintptr(ends[0]), unix.F_SETPIPE_SZ, pipeBytes) // a smaller pipe works, too
	_, err := s.callWith(ctx, "getfd", map[string]string{"fdname": name}, ends[1])
	err = errors.Join(err, unix.Close(ends[1])) // QEMU's own is the last one then: its end is the guest's
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// settle ends what an earlier saving left: one that a daemon began who is gone,
// or a guest that was saved and may not be saved again before it has run.
func (s *session) settle(ctx context.Context) error {
	if err := s.giveUp(ctx); err != nil {
		return err
	}
	state, err := s.State(ctx)
	if err != nil || state != host.GuestSaved {
		return err
	}
	return s.do(ctx, "cont")
}

// giveUp returns when no migration is under way any more.
func (s *session) giveUp(ctx context.Context) error {
	status, err := s.migration(ctx)
	if err != nil || over(status) {
		return err
	}
	if err := s.tellMigration(ctx); err != nil && host.KindOf(err) != host.Broken { // refused while one is under way
		return err
	}
	if err := s.do(ctx, "migrate_cancel"); err != nil {
		return err
	}
	_, err = s.migrated(ctx)
	return err
}

// migrated waits for the end of a migration and tells which it is.
func (s *session) migrated(ctx context.Context) (string, error) {
	for {
		moved := s.movement()
		status, err := s.migration(ctx)
		if err != nil || over(status) {
			return status, err
		}
		if err := s.wait(ctx, "wait for the migration", moved); err != nil {
			return "", err
		}
	}
}

// Loaded waits until the saved guest is whole; see host.Session.
func (s *session) Loaded(ctx context.Context) error {
	if err := s.tellMigration(ctx); err != nil && host.KindOf(err) != host.Broken {
		return err
	}
	for {
		moved := s.movement()
		state, err := s.State(ctx)
		if err != nil || state != host.GuestLoading {
			return err
		}
		if err := s.wait(ctx, "wait for the migration", moved); err != nil {
			return err
		}
	}
}

func (s *session) wait(ctx context.Context, doing string, moved <-chan struct{}) error {
	select {
	case <-moved:
		return nil
	case <-s.ended:
		return host.Fail(host.Gone, doing, s.reason())
	case <-ctx.Done():
		return host.Fail(host.Transient, doing, ctx.Err())
	}
}

// movement is closed at the next of the events that steps tells of. Who takes it before he
// asks misses none.
func (s *session) movement() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	return s.moved
}

func (s *session) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

func over(status string) bool {
	return status == migrationNone || status == migrationCompleted || status == migrationFailed || status == migrationCancelled
}

// migration asks for the state of the migration, which is one word of QEMU's.
func (s *session) migration(ctx context.Context) (string, error) {
	b, err := s.call(ctx, "query-migrate", nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", host.Fail(host.Transient, "query-migrate", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	return answer.Status, nil
}

// tellMigration has QEMU tell of each step.
func (s *session) tellMigration(ctx context.Context) error {
	type capability struct {
		Name string `json:"capability"`
		On   bool   `json:"state"`
	}
	_, err := s.call(ctx, "migrate-set-capabilities", map[string][]capability{"capabilities": {{"events", true}}})
	return err
}

// Kind is the VMM that answers: what it saves loads into its like alone.
func (s *session) Kind(ctx context.Context) (string, error) {
	b, err := s.call(ctx, "query-version", nil)
	if err != nil {
		return "", err
	}
	var version struct {
		QEMU struct{ Major, Minor int } `json:"qemu"`
	}
	if err := json.Unmarshal(b, &version); err != nil || version.QEMU.Major == 0 {
		return "", host.Fail(host.Transient, "query-version", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	if b, err = s.call(ctx, "query-kvm", nil); err != nil {
		return "", err
	}
	var kvm struct{ Enabled bool }
	if err := json.Unmarshal(b, &kvm); err != nil {
		return "", host.Fail(host.Transient, "query-kvm", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	accel := AccelTCG
	if kvm.Enabled {
		accel = AccelKVM
	}
	return savedBy(fmt.Sprintf("%d.%d", version.QEMU.Major, version.QEMU.Minor), accel), nil
}

func savedBy(version, accel string) string { return "QEMU " + version + " " + strings.ToUpper(accel) }

// Loads compares who saved the guest with who would load it: microvm, and CPUs
// that are the host's, have no promise across versions of QEMU. A QEMU that
// doesn't tell its version is refused by Command, with a reason that isn't the
// saved guest's.
func (d *Driver) Loads(_ vm.Spec, saved vm.SavedState) error {
	version, err := d.version.of(d.config.Binary)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	if now := savedBy(version, d.config.Accel); now != saved.By {
		return refuse("it was saved by %s, and this is %s", saved.By, now)
	}
	return nil
}

// onlyWriter and onlyReader hide the ways by which a copy would go around the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// handOver writes a line with a descriptor beside it.
func handOver(conn net.Conn, line []byte, fd int) error {
	wire, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("descriptors go over a unix socket alone")
	}
	n, _, err := wire.WriteMsgUnix(line, unix.UnixRights(fd), nil)
	if err == nil && n < len(line) {
		_, err = wire.Write(line[n:])
	}
	return err
}
