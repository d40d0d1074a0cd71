//go:build race

package sim

// underRace: the detector can follow no more than 8,128 goroutines.
const underRace = true
