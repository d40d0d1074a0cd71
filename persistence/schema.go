package persistence

import (
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
)

// Schema is the version of the set of keys that this code writes and reads.
const Schema = 1

// migration writes what leads from one schema to the next into the batch, which
// gets the new version too: a cut leaves the old schema or the new one.
type migration func(db *pebble.DB, batch *pebble.Batch) error

// migrations[i] leads from schema i+1 to i+2. There are always Schema-1 of them.
var migrations = []migration{}

func migrate(db *pebble.DB, steps []migration) error {
	newest := len(steps) + 1
	at, err := schemaOf(db, newest)
	if err != nil {
		return err
	}
	if at == 0 {
		return writeSchema(db, db.NewBatch(), newest)
	}
	for ; at < newest; at++ {
		batch := db.NewBatch()
		if err := steps[at-1](db, batch); err != nil {
			return fmt.Errorf("migrating from schema %d to %d: %w", at, at+1, err)
		}
		if err := writeSchema(db, batch, at+1); err != nil {
			return err
		}
	}
	return nil
}

func writeSchema(db *pebble.DB, batch *pebble.Batch, version int) error {
	if err := batch.Set([]byte(schemaKey), []byte(strconv.Itoa(version)), nil); err != nil {
		return err
	}
	if err := db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	return batch.SyncWait()
}

// schemaOf is the schema that the store has; 0 for a new store.
func schemaOf(db *pebble.DB, newest int) (int, error) {
	value, err := get(db, []byte(schemaKey))
	if err != nil {
		return 0, err
	}
	if value == nil {
		return 0, checkEmpty(db)
	}
	at, err := strconv.Atoi(string(value))
	if err != nil || at < 1 {
		return 0, unusable(Damaged, "its schema version is damaged: %.40q", value)
	}
	if at > newest {
		return 0, unusable(Newer, "it was written by a newer version: schema %d, this one knows up to %d", at, newest)
	}
	return at, nil
}

// checkEmpty refuses to adopt a database that isn't ours.
func checkEmpty(db *pebble.DB) error {
	var key string
	err := dbReader{db}.scan(nil, nil, func(k, _ []byte) bool {
		key = string(k)
		return false
	})
	if err == nil && key != "" {
		return unusable(Foreign, "it is a database of something else: it has keys such as %.40q and no schema version", key)
	}
	return err
}
