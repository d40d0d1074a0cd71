package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func (d *daemon) storeDir() string { return filepath.Join(d.state, "store") }

func (d *daemon) storeOptions() persistence.Options {
	return persistence.Options{
		Node: d.id, Witness: filepath.Join(d.state, "witness.json"), Ballast: filepath.Join(d.state, "ballast"), Log: storeLog(d.log),
	}
}

// openStore opens the store, or goes on without: where its content is unusable,
// VMs must still be adopted, shown and stopped.
func (d *daemon) openStore() error {
	id, err := readNodeID(d.state)
	if err != nil {
		return err
	}
	d.id = id
	if lost := d.lostStore(); lost != nil {
		return d.openSafe(lost)
	}
	store, err := persistence.Open(d.storeDir(), d.storeOptions())
	if trouble, unusable := errors.AsType[*persistence.Unusable](err); unusable {
		return d.openSafe(trouble)
	}
	if err != nil {
		return err
	}
	d.disk, d.store = store, store
	d.later(func() {
		if err := errors.Join(store.Witness(), store.Close()); err != nil {
			d.log.Warn("close the store", zap.Error(err))
		}
	})
	if err := d.settleNodeID(); err != nil {
		return err
	}
	return store.Belong(d.id)
}

// lostStore is not nil where a store is missing together with its witness: the
// node's id, or the folder of a VM, says that there was one.
func (d *daemon) lostStore() *persistence.Unusable {
	if entries, err := os.ReadDir(d.storeDir()); err == nil && len(entries) > 0 {
		return nil
	}
	vms, _ := os.ReadDir(filepath.Join(d.state, "vms")) // none: nothing is lost
	if d.id == "" && len(vms) == 0 {
		return nil
	}
	return &persistence.Unusable{Kind: persistence.Missing, Refusal: &vm.Refusal{
		Code: vm.Unavailable, Try: "put a backup there, or blixard node repair: running VMs live on",
		Why: fmt.Sprintf("the store in %s is gone, and its node was not new: it has an id or %d folders of VMs", d.storeDir(), len(vms)),
	}}
}

// openSafe begins safe mode: the store is in memory, and its journal goes on
// above all that watchers have seen.
func (d *daemon) openSafe(trouble *persistence.Unusable) error {
	d.trouble = trouble
	w, err := persistence.ReadWitness(d.storeOptions().Witness)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("the witness can't be read", zap.Error(err))
	}
	if d.id == "" {
		d.id = w.Node
	}
	memory := persistence.NewMemoryAfter(w.Resume())
	d.store = memory
	d.later(func() { _ = memory.Close() })
	d.log.Error("safe mode: every VM that runs is adopted, nothing is started or deleted; see blixard node status, then blixard node repair",
		zap.String("why", trouble.Why))
	if d.id == "" {
		d.log.Error("the node's id is lost with the store: running VMMs can't be told from strangers and are left alone")
		d.id = newNodeID()
	}
	return nil
}

// rebuild fills the store of safe mode with what manifests and live VMMs tell.
func (d *daemon) rebuild(ctx context.Context) error {
	vmms, err := d.ports.Launcher.List(ctx)
	if err != nil {
		return fmt.Errorf("list the VMMs that live: %w", err)
	}
	all, err := d.folders.List(ctx)
	if err != nil {
		return fmt.Errorf("list the folders of VMs: %w", err)
	}
	now := time.Now()
	records := policies.Rebuild(policies.Inventory{VMMs: vmms, Folders: all}, d.boot, now)
	for _, r := range records {
		_, err := d.store.Commit(persistence.Turn{Record: r, Whole: true, Entry: &vm.Entry{
			At: now, VM: r.ID, Name: r.Spec.Name, Kind: "Rebuilt", To: r.State.Phase, Incarnation: r.State.Incarnation, Revision: 1, Why: r.State.Reason,
		}})
		if err != nil {
			return fmt.Errorf("rebuild %s: %w", r.Spec.Name, err)
		}
	}
	return nil
}

// repair moves the damaged store aside, writes a new one from the records as
// they stand, and begins a new life on it.
func (d *daemon) repair(_ context.Context, records []vm.Record, by messages.Caller) (out gateway.Repaired, failed error) {
	if d.trouble.Kind == persistence.Newer {
		return gateway.Repaired{}, &vm.Refusal{
			Code: vm.WrongPhase, Why: "a newer version wrote the store, and it is whole", Try: "start that version; a repair would lose what the store holds",
		}
	}
	if !d.repairing.CompareAndSwap(false, true) {
		return out, &vm.Refusal{Code: vm.Unavailable, Why: "another repair is under way", Try: "blixard node status"}
	}
	defer func() {
		if failed != nil {
			d.repairing.Store(false)
		}
	}()
	records = policies.AfterSafeMode(records, time.Now())
	out.VMs = len(records)
	aside, err := persistence.SetAside(d.storeDir(), time.Now())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, cantRepair(err)
	}
	out.Aside = aside
	if err := writeNodeID(d.state, d.id); err != nil { // without, the next life takes the VMMs that run for strangers (P1)
		return out, cantRepair(err)
	}
	entry := vm.Entry{At: time.Now(), Kind: "Repaired", Why: "the store was rebuilt, as " + d.trouble.Why, By: by.String()}
	if err := persistence.Rebuild(d.storeDir(), records, []vm.Entry{entry}, d.storeOptions()); err != nil {
		return out, cantRepair(err)
	}
	var down []string
	for _, r := range records {
		if r.State.Intent != vm.WantRunning {
			down = append(down, string(r.Spec.Name))
		}
	}
	if len(down) > 0 {
		out.Lines = append(out.Lines, "nobody knows whether these were wanted up, and they stay down until they are started: "+strings.Join(down, ", "))
	}
	out.Lines = append(out.Lines, "crash histories and the journal of before are in what was moved aside, if anything can still read them")
	d.log.Info("the store was rebuilt; the node begins anew on it", zap.String("aside", aside), zap.Int("vms", len(records)))
	d.anew()
	return out, nil
}

func cantRepair(err error) *vm.Refusal {
	return &vm.Refusal{Code: vm.Unavailable, Why: "the store could not be rebuilt: " + err.Error(), Try: "mend that, then `blixard node repair` again"}
}

// housekeep is what the reconciler's look brings with it: the witness is told
// how far the store has come, and the disk is looked at.
func (d *daemon) housekeep() {
	if d.disk == nil {
		return
	}
	d.disk.CheckSpace()
	if err := d.disk.Witness(); err != nil {
		d.log.Warn("the store's witness was not written", zap.Error(err))
	}
	if at, err := os.Stat(d.storeDir()); err != nil || !at.IsDir() {
		d.log.Fatal("the store's folder is gone; VMs live on, and the next start goes into safe mode", zap.String("folder", d.storeDir()))
	}
}

// nearlyFull is how little free space makes the store look at once.
const nearlyFull = 16 << 20

// lowSpace says why nothing that grows is admitted; empty: it is.
func (d *daemon) lowSpace() string {
	if d.disk == nil {
		return ""
	}
	var now unix.Statfs_t
	if unix.Statfs(d.state, &now) == nil && int64(now.Bavail)*now.Frsize < nearlyFull {
		d.disk.CheckSpace() // what it was told at the last look is not true any more
	}
	low, why := d.disk.LowOnSpace()
	if !low {
		return ""
	}
	if d.measuring.CompareAndSwap(false, true) { // space may be back: whoever asks again soon, finds that
		go func() {
			defer d.measuring.Store(false)
			d.disk.CheckSpace()
		}()
	}
	return why
}

// nodeIDFile names the state folder: VMMs of other folders are not ours (P8).
// It stands beside the store, so that VMMs are known when the store is lost.
const nodeIDFile = "node-id"

func newNodeID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// readNodeID is empty where there is none yet.
func readNodeID(state string) (string, error) {
	b, err := os.ReadFile(filepath.Join(state, nodeIDFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the node's id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
		return "", &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("the node's id in %s is damaged", filepath.Join(state, nodeIDFile)), Try: "restore the file, or remove it: the store knows it too",
		}
	}
	return id, nil
}

// settleNodeID makes file and store agree: a store of before has the only copy,
// and a new node gets an id.
func (d *daemon) settleNodeID() error {
	stored, err := d.store.Meta("node")
	if err != nil {
		return fmt.Errorf("read the node's id: %w", err)
	}
	known := d.id
	switch {
	case stored != nil:
		d.id = string(stored)
	case d.id == "":
		d.id = newNodeID()
	}
	if stored == nil {
		if err := d.store.SetMeta("node", []byte(d.id)); err != nil {
			return fmt.Errorf("write the node's id: %w", err)
		}
	}
	if known == d.id {
		return nil
	}
	return writeNodeID(d.state, d.id)
}

// writeNodeID leaves the whole file or none after a power cut. Only root reads
// it: a process that carries the id passes for a VMM of ours.
func writeNodeID(state, id string) error {
	path := filepath.Join(state, nodeIDFile)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the node's id: %w", err)
	}
	_, err = file.WriteString(id + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write the node's id: %w", err)
	}
	dir, err := os.Open(state)
	if err != nil {
		return fmt.Errorf("write the node's id: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
