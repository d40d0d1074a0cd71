package persistence

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The log's format is Pebble's (package record): blocks of 32 KiB with chunks
// that don't cross them. The header of a chunk:
//
//	checksum 4 | length 2 | kind 1 | number of the log 4 | synced up to 8
//
// A chunk says how far the log was synced when it was written. So a chunk that is
// whole, behind one that isn't and that it says was synced, proves damage.
// Pebble looks for the proof in the blocks that follow; in the same block, which
// is a minute of a quiet node's life, it takes the damage for the end of the log.
const (
	logBlock     = 32 << 10
	chunkHeader  = 19
	firstKind    = 9 // kinds 9 to 12 are a whole record, its first, a middle and its last part
	lastKind     = 12
	maskedCRCAdd = 0xa282ead8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkLogs finds damage in the logs that replaying them would take for their end.
func checkLogs(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, isLog := strings.CutSuffix(name, ".log")
		number, err := strconv.ParseUint(digits, 10, 64)
		if !isLog || err != nil {
			continue
		}
		content, err := readWhole(fs, fs.PathJoin(dir, name))
		if err != nil {
			return err
		}
		if at, isDamaged := damageIn(content, uint32(number)); isDamaged { // the format keeps the low 32 bits
			return unusable(Damaged, "it is damaged: %s can't be read at byte %d, and later parts of it can", name, at)
		}
	}
	return nil
}

// damageIn returns the place of the first chunk that isn't whole, if a later one says that it was.
func damageIn(log []byte, number uint32) (at int, isDamaged bool) {
	log = withoutZeros(log)
	at = endOfChunks(log, number)
	for next := at + 1; next+chunkHeader <= len(log); next++ {
		if kind := log[next+6]; kind < firstKind || kind > lastKind {
			continue
		}
		if _, synced, ok := chunkAt(log, next, number); ok && synced > uint64(at) {
			return at, true
		}
	}
	return at, false
}

// withoutZeros cuts whole pages of zeros from the end: most of a log that was written ahead.
func withoutZeros(log []byte) []byte {
	for len(log) >= len(zeroPage) && bytes.Equal(log[len(log)-len(zeroPage):], zeroPage[:]) {
		log = log[:len(log)-len(zeroPage)]
	}
	return log
}

var zeroPage [4096]byte

// endOfChunks walks over the chunks that are whole.
func endOfChunks(log []byte, number uint32) int {
	at := 0
	for at+chunkHeader <= len(log) {
		if rest := logBlock - at%logBlock; rest < chunkHeader { // filled up: no header fits
			at += rest
			continue
		}
		length, _, ok := chunkAt(log, at, number)
		if !ok {
			return at
		}
		at += length
	}
	return at
}

// chunkAt returns the length of a whole chunk of this log, header included, and
// how far it says that the log was synced.
func chunkAt(log []byte, at int, number uint32) (length int, synced uint64, ok bool) {
	if at+chunkHeader > len(log) || logBlock-at%logBlock < chunkHeader {
		return 0, 0, false
	}
	header := log[at : at+chunkHeader]
	kind := header[6]
	length = chunkHeader + int(binary.LittleEndian.Uint16(header[4:]))
	if kind < firstKind || kind > lastKind || binary.LittleEndian.Uint32(header[7:]) != number ||
		at+length > len(log) || at%logBlock+length > logBlock {
		return 0, 0, false
	}
	sum := crc32.Checksum(log[at+6:at+length], castagnoli)
	if (sum>>15|sum<<17)+maskedCRCAdd != binary.LittleEndian.Uint32(header) {
		return 0, 0, false
	}
	return length, binary.LittleEndian.Uint64(header[11:]), true
}
