// Package persistence keeps what must survive: the records of the VMs, the
// journal of events and the crash records, in Pebble.
//
// A turn is one synced batch (P3). These are its keys, in the order of the
// store; UID is the 16 digits of a vm.ID, NUMBER is 8 bytes big-endian:
//
//	key               family         value                  written
//	config/UID        vm_configs     id, slot, spec         at creation, with a new spec
//	crash/UID/NUMBER  -              vm.Crash               where an incarnation ended; the newest KeepCrashes stay
//	event/NUMBER      -              vm.Entry               at most one a turn; the newest KeepEvents stay, give or take a step
//	identity          -              32 hex digits          at the first open: the store's own id
//	meta/KEY          -              bytes of the caller    by SetMeta
//	resource/UID      vm_resources   vm.Reservation         at creation, with a new spec
//	schema            -              a decimal number       at the first open and by migrations
//	state/UID         vm_states      vm.State               each turn
//
// A removed VM loses its config, state, resource and crash keys in one batch.
// Its events stay until they are old.
//
// There are three versions, and each is refused or told of by itself:
//
//	format   Pebble's own file format, pinned (see formatVersion): a newer one is refused by Open
//	schema   the set of keys above, now Schema: older ones are migrated by Open, a newer one is refused
//	codec    the first byte of each value, now codecJSON: an unknown one breaks that record alone (P13)
//
// The number of an event is its place in the store's log: it is given and
// handed to the log under one lock, so a synced entry implies that all entries
// before it are synced. Events shows nothing above the last synced one.
//
// Open reads all of a store before it writes (inspect): what Pebble would meet
// later, in the background, or never, because it takes damage in a log for the
// log's end, is met there. Beside the folder stand a witness, which remembers
// which store there was and how far it had come, and ballast:
//
//	store/            Pebble's, set aside as store.damaged-TIME, built anew in store.rebuilt
//	witness.json      node, store's id, last durable event; written at Open, at Close, and by Witness
//	ballast           16 MiB that are cut away, 4 at a time, where the disk is full
//
// What is wrong with a store has one of five kinds (Unusable). What a cut takes
// from a log's end after the witness's last visit can't be noticed, if it takes
// whole syncs: nothing that was written then is left to say so.
//
// An error of the disk is final, but for a full one while there is ballast: the
// Commit that met it returns the error, every later one too, and then the process
// ends (Options.Fatal), because what the log holds can't be known any more. The VMs live on (P6) and the next
// daemon reads what was promised. Two cases have no error to return: writes that
// wait longer than stallLimit for room, and a fault while Pebble begins a new
// log, where it panics without the lock that its way out unlocks, and the Go
// runtime ends the process with a trace. Both end it, and nothing waits for ever.
package persistence
