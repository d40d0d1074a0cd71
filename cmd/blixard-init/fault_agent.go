package main

import (
	"bytes"
	"time"
)

// lateness is longer than any check of a test waits for an answer.
const lateness = 6 * time.Second

// hugeAnswer is far more than anybody should keep of one answer.
const hugeAnswer = 16 << 20

// tell sends the answer of the agent, in the way that it was told to.
func (f *faults) tell(p *port, answer []byte) {
	lie, _ := f.lie.Load().(string)
	var err error
	switch lie {
	case "lying-agent":
		err = p.write([]byte(`{"return": 4711}` + "\n" + `{"return": {"pid": -1, "torn`))
	case "late-agent":
		time.AfterFunc(lateness, func() { _ = p.write(answer) }) // in order; nobody may want it any more
	case "garbage-agent":
		err = p.write(amidNoise(answer))
	case "huge-agent":
		err = huge(p.write)
	default:
		err = p.write(answer)
	}
	_ = err // the host's side is gone, and so is the one that asked
}

// amidNoise is the answer between bytes that begin, end and tear whatever
// reads them.
func amidNoise(answer []byte) []byte {
	noise := []byte("\x00\xfe\xc3(\x80}]{\"\\u12\r\x1b[2J\n{\"return\": [[[[[[\n\n]\xf0\x9f\n")
	return append(append(bytes.Repeat(noise, 20), answer...), noise...)
}

// huge writes one object, piece by piece: this guest has no memory for it either.
func huge(write func([]byte) error) error {
	piece := bytes.Repeat([]byte("a"), 64<<10)
	err := write([]byte(`{"return": {"text": "`))
	for sent := 0; err == nil && sent < hugeAnswer; sent += len(piece) {
		err = write(piece)
	}
	if err != nil {
		return err
	}
	return write([]byte("\"}}\n"))
}
