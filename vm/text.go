package vm

import "fmt"

// parseText finds the value of a name, for the UnmarshalText of our enumerations.
func parseText[T comparable](names map[T]string, what string, b []byte, to *T) error {
	for v, name := range names {
		if name == string(b) {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("unknown %s %q", what, b)
}
