package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/blixard/blixard/vm"
)

// probePatience is how long a probe guest may take to show its mark. It needs
// 50 to 200 ms; what takes twenty times that is of no use.
const probePatience = 4 * time.Second

// verdict is the cached outcome of a probe.
type verdict struct {
	BootID vm.BootID `json:"bootId"`
	Binary string    `json:"binary"`
	Accel  string    `json:"accel"`
	Why    string    `json:"why"`
}

// Probe decides between KVM and TCG, and says why in a sentence: KVM only if a
// guest really runs under it, for on a nested host /dev/kvm may open, create a VM
// and emulate every instruction until a real kernel reaches one that it can't. The answer is kept in the file cache for this boot of the node; an
// empty cache keeps nothing. TCG is the answer to every doubt.
func Probe(ctx context.Context, binary, cache string, boot vm.BootID) (accel, why string) {
	if v, ok := cached(cache, boot, binary); ok {
		return v.Accel, v.Why
	}
	accel, why = AccelKVM, "a probe guest booted under KVM"
	if err := openKVM(); err != nil {
		accel, why = AccelTCG, "KVM can't be used: "+err.Error()
	} else if err := bootProbe(ctx, binary, AccelKVM, probePatience); err != nil {
		accel, why = AccelTCG, "/dev/kvm opens, but a probe guest does not boot under it: "+err.Error()
	}
	if ctx.Err() == nil { // a probe that was cut short proves nothing
		keep(cache, verdict{BootID: boot, Binary: binary, Accel: accel, Why: why})
	}
	return accel, why
}

func openKVM() error {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return kvm.Close()
}

func cached(file string, boot vm.BootID, binary string) (verdict, bool) {
	var v verdict
	b, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(b, &v) != nil {
		return v, false
	}
	known := v.Accel == AccelKVM || v.Accel == AccelTCG
	return v, known && boot != "" && v.BootID == boot && v.Binary == binary
}

// keep writes the verdict whole or not at all. Failing is no harm: the next
// daemon probes again.
func keep(file string, v verdict) {
	if file == "" {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	if os.WriteFile(file+".new", b, 0o600) == nil {
		_ = os.Rename(file+".new", file)
	}
}

// bootProbe starts the PVH guest and returns nil when its mark came out of its
// serial port. QEMU never outlives the call by more than what the kernel makes
// it: it is killed by its pid, and nobody waits for one that is stuck.
func bootProbe(ctx context.Context, binary, accel string, patience time.Duration) error {
	folder, err := os.MkdirTemp("", "blixard-probe-")
	if err != nil {
		return fmt.Errorf("make a folder: %v", err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is a KiB in a temporary folder
	kernel := filepath.Join(folder, "guest.elf")
	if err := os.WriteFile(kernel, probeGuest(), 0o600); err != nil {
		return fmt.Errorf("write the probe guest: %v", err)
	}
	out, into, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %v", err)
	}
	defer out.Close()
	complaint, err := os.Create(filepath.Join(folder, "stderr"))
	if err != nil {
		return fmt.Errorf("make a file: %v", err)
	}
	defer complaint.Close()
	// The probe guest is no VM: it ends with us, however we end. The kernel tells
	// the child of the end of the thread that started it, so that one is kept.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	qemu := exec.Command(binary, probeArgs(kernel, accel)...) // without ctx: reap kills it, also when it hangs
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	qemu.Stdout, qemu.Stderr = into, complaint
	err = qemu.Start()
	_ = into.Close() // the child has its own
	if err != nil {
		return fmt.Errorf("start QEMU: %v", err)
	}
	defer reap(qemu)
	_ = out.SetReadDeadline(time.Now().Add(patience)) // pipes have deadlines on Linux
	defer context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Unix(1, 0)) })()
	return readMark(out, complaint.Name(), patience)
}

func probeArgs(kernel, accel string) []string {
	cpu, cache := "host", ""
	if accel == AccelTCG {
		cpu, cache = "qemu64", ",tb-size=1"
	}
	return []string{
		"-M", "microvm,acpi=off,pit=off,pic=off,rtc=off,x-option-roms=off", "-accel", accel + cache, "-cpu", cpu, "-m", "8M",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-kernel", kernel,
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}
}

func readMark(out io.Reader, complaint string, patience time.Duration) error {
	_, err := io.ReadFull(out, make([]byte, len(PVHMark)))
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no sign of life within %v", patience)
	}
	text, _ := os.ReadFile(complaint) // what it didn't say can't be told
	said, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("QEMU ended: %q", clip(said))
}

// reap kills the probe and gives the kernel a second to be rid of it. A process
// stuck in the kernel is left to die when it can; its goroutine waits for it.
func reap(qemu *exec.Cmd) {
	gone := make(chan struct{})
	_ = qemu.Process.Kill() // fails only if it has ended
	go func() {
		defer close(gone)
		_ = qemu.Wait()
	}()
	select {
	case <-gone:
	case <-time.After(time.Second):
	}
}

// Find returns the absolute path of QEMU: what the configuration names, or the
// first on PATH. Missing is a host.Broken sentence.
func Find(configured string) (string, error) {
	const name = "qemu-system-x86_64"
	if configured != "" && !filepath.IsAbs(configured) {
		return "", refuse("the configured QEMU %q is not an absolute path", configured)
	}
	if configured == "" {
		configured = name
	}
	path, err := exec.LookPath(configured)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound):
		return "", refuse("QEMU is not installed: no %s; install qemu-system-x86", configured)
	case err != nil:
		return "", refuse("QEMU can't be run: %v", err)
	}
	return path, nil
}
