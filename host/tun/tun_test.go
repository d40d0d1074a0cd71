package tun

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const inside = "BX_TUN_INSIDE"

// TestMain runs the tests in a network namespace, which goes with the process.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	tests := exec.Command("/proc/self/exe", os.Args[1:]...)
	tests.Env = append(os.Environ(), inside+"=1")
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	tests.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := tests.Run()
	if errors.Is(err, unix.EPERM) {
		fmt.Println("skipped: a network namespace takes root")
		os.Exit(0)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func attach(t *testing.T, flags uint16) Tap {
	t.Helper()
	tap, err := Attach("bx0", flags)
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestALifeOfATap: it is held by one, goes with its descriptor until it is
// persistent, and again when it isn't any more.
func TestALifeOfATap(t *testing.T) {
	for _, stays := range []bool{false, true, false} {
		tap := attach(t, Flags)
		if _, err := Attach("bx0", Flags); !errors.Is(err, unix.EBUSY) {
			t.Errorf("held twice: %v", err)
		}
		do(t, tap.Own(4711, 4712))
		do(t, tap.Persist(stays))
		if is, err := tap.Persistent(); err != nil || is != stays {
			t.Errorf("persistent %v, %v, want %v", is, err, stays)
		}
		do(t, tap.Close())
		next, err := Attach("bx0", Flags|Anew)
		if stays != errors.Is(err, unix.EBUSY) {
			t.Errorf("after it was let go of, persistent %v: %v", stays, err)
		}
		if err == nil {
			do(t, next.Close())
		}
	}
}

func TestNamesThatTheKernelWouldCut(t *testing.T) {
	for _, name := range []string{"0123456789abcdef", strings.Repeat("x", 200)} {
		if _, err := Attach(name, Flags); err == nil {
			t.Errorf("%q was attached", name)
		}
	}
}
