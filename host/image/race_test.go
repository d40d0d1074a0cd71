//go:build race

package image_test

// raced: see skipRaced.
const raced = true
