package runner

import (
	"encoding/json"
	"errors"
	"io"
	"os"
)

// note replaces a record in the VM's folder in one step. Its content is synced
// before it gets its name: after a power cut there is the old one or the new one,
// and a build that is there needs no network to be known.
func note(path string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// maxNote bounds what is read of a record.
const maxNote = 1 << 20

func recall(path string, record any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return json.NewDecoder(io.LimitReader(file, maxNote)).Decode(record)
}
