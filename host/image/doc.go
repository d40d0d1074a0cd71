// Package image builds the built-in guest from a Debian kernel package and
// cmd/blixard-init, and finds it again:
//
//	/boot/vmlinuz-REL ──unpack──▶ kernel      ELF, entered by PVH (or the bzImage itself)
//	/lib/modules/REL  ──closure─┐
//	bin/blixard-init  ──────────┴▶ initrd      cpio, newc, not compressed
//	                              image.json  versions, hashes, kernel command line
//
// The same inputs give the same bytes, and image.json is written last, so a
// folder with an image.json holds a whole image. An uncompressed archive and an
// unpacked kernel boot faster: a guest under TCG unpacks twenty times slower
// than we do once, here.
package image
