package runner

import (
	"encoding/json"
	"io"
	"os"
)

// note replaces a record in the VM's folder in one step. It is not synced: it
// is made anew at each start.
func note(path string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
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
