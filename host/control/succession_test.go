package control

import (
	"path/filepath"
	"testing"
	"time"
)

// A daemon that is killed between fork and exec of a VMM leaves a child that
// holds its lock and its socket for a moment more.
func TestTheSocketIsTakenOverFromADyingChild(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	child, err := Listen(path, 0o660, "")
	if err != nil {
		t.Fatal(err)
	}
	child.(*listener).SetUnlinkOnClose(false)
	time.AfterFunc(succession/5, func() { _ = child.Close() })
	l, err := Listen(path, 0o660, "")
	if err != nil {
		t.Fatalf("the successor was refused: %v", err)
	}
	_ = l.Close()
}
