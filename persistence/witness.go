package persistence

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// witnessFormat is the version of the witness's file.
const witnessFormat = 1

// Witness is what a small file beside the store's folder remembers of it: that
// there was one, which one, and how far it had come. A store can't tell by itself
// that it was lost, replaced by a backup, or cut at its end.
type Witness struct {
	Format   int    `json:"format"`
	Node     string `json:"node,omitempty"` // the node that wrote it
	Store    string `json:"store"`          // the store's own id
	Sequence uint64 `json:"sequence"`       // the last event that was durable
}

// resumeGap is more events than a store writes between two visits to its witness.
const resumeGap = 1 << 20

// Resume is a number that no event of the lost store reached, so that the
// journal of what takes its place goes on above all that a watcher has seen.
func (w Witness) Resume() uint64 { return w.Sequence + resumeGap }

// ReadWitness reads the file. It is os.ErrNotExist where there was no store yet.
func ReadWitness(path string) (Witness, error) { return readWitness(vfs.Default, path) }

func readWitness(fs vfs.FS, path string) (Witness, error) {
	var w Witness
	f, err := fs.Open(path)
	if err != nil {
		return w, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err = errors.Join(err, f.Close()); err != nil {
		return w, err
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return Witness{}, fmt.Errorf("reading the witness %s: %v", path, err)
	}
	return w, nil
}

// writeWitness is whole or not at all, also over a power cut.
func writeWitness(fs vfs.FS, path string, w Witness) error {
	text, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("writing the witness: %v", err)
	}
	next := path + ".new"
	f, err := fs.Create(next, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("writing the witness: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(next, path)
	}
	if err == nil {
		err = syncFolder(fs, fs.PathDir(path))
	}
	if err != nil {
		return fmt.Errorf("writing the witness: %w", err)
	}
	return nil
}

// Witness writes down how far the store is durable. Open and Close do it too;
// between them it is for whoever has a tick, never for a commit. Nothing is
// written where nothing has changed.
func (p *Pebble) Witness() error {
	if err := p.enter(); err != nil {
		return err
	}
	defer p.leave()
	return p.tellWitness()
}

// Belong tells the witness whose store this is, where Open did not know it yet:
// a node that loses its id and its store together knows its VMMs by that alone.
func (p *Pebble) Belong(node string) error {
	p.witnessing.Lock()
	p.o.Node = node
	p.witnessing.Unlock()
	return p.Witness()
}

func (p *Pebble) tellWitness() error {
	if p.o.Witness == "" {
		return nil
	}
	p.witnessing.Lock()
	defer p.witnessing.Unlock()
	now := p.now()
	if now == p.witnessed {
		return nil
	}
	if err := writeWitness(p.o.FS, p.o.Witness, now); err != nil {
		return err
	}
	p.witnessed = now
	return nil
}

// now is what a witness sees of the store.
func (p *Pebble) now() Witness {
	return Witness{Format: witnessFormat, Node: p.o.Node, Store: p.id, Sequence: p.LastEvent()}
}

// callWitness returns nil where no store was seen before. A witness that can't
// be read has seen one all the same.
func (p *Pebble) callWitness() (*Witness, error) {
	if p.o.Witness == "" {
		return nil, nil
	}
	w, err := readWitness(p.o.FS, p.o.Witness)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		p.o.Log(Error, err.Error())
	}
	if w.Format > witnessFormat {
		return nil, unusable(Newer, "its witness %s was written by a newer version", p.o.Witness)
	}
	if w.Node != "" && p.o.Node != "" && w.Node != p.o.Node {
		return nil, unusable(Foreign, "its witness %s is of node %.64q, and this is %.64q", p.o.Witness, w.Node, p.o.Node)
	}
	if _, err := p.o.FS.Stat(p.dir); errors.Is(err, os.ErrNotExist) {
		return nil, p.missing()
	}
	return &w, nil
}

func (p *Pebble) missing() error {
	return unusable(Missing, "it is gone, and its witness %s has seen it", p.o.Witness)
}

// settleIdentity gives the store its id where it has none.
func (p *Pebble) settleIdentity() error {
	id, err := get(p.db, []byte(identityKey))
	if err != nil {
		return err
	}
	if id != nil {
		p.id = string(id)
		return nil
	}
	if p.id == "" {
		random := make([]byte, 16)
		_, _ = rand.Read(random) // it never fails
		p.id = hex.EncodeToString(random)
	}
	batch := p.db.NewBatch()
	if err := batch.Set([]byte(identityKey), []byte(p.id), nil); err != nil {
		return err
	}
	if err := p.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	return batch.SyncWait()
}
