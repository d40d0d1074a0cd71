package folders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

var errDiscarded = errors.New("its VM is deleted")

// shelf opens the folder of a VM's bundles; with made it is made. The folder
// around it has to be this VM's.
func (f Bundles) shelf(ref vm.Ref, made bool) (*os.Root, error) {
	at := f.Paths(ref)
	doing := "open bundles in " + at.Folder
	place, err := f.home(ref, doing)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	if made {
		if err := f.makeShelf(place, ref, doing); err != nil {
			return nil, fail(doing, at.Folder, err)
		}
	}
	if _, err := dirAt(place, bundlesName); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, host.Fail(host.Gone, doing, err)
		}
		return nil, fail(doing, at.Folder, err)
	}
	shelf, err := place.OpenRoot(bundlesName)
	if err != nil {
		return nil, fail(doing, at.Folder, err)
	}
	return shelf, nil
}

// home opens a VM's folder, which has to be this VM's.
func (f Bundles) home(ref vm.Ref, doing string) (*os.Root, error) {
	at := f.Paths(ref)
	place, err := os.OpenRoot(at.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, host.Fail(host.Gone, doing, err)
	}
	if err != nil {
		return nil, fail(doing, at.Folder, err)
	}
	if err := owned(place, ref.VM); err != nil {
		return nil, errors.Join(err, place.Close())
	}
	return place, nil
}

// owned proves whose folder it is (P8).
func owned(place *os.Root, id vm.ID) error {
	const doing = "check whose folder it is"
	b, err := place.ReadFile(manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return host.Fail(host.Gone, doing, err)
	}
	if err != nil {
		return fail(doing, place.Name(), err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return host.Fail(host.Broken, doing, err)
	}
	if m.ID != id {
		return host.Fail(host.Gone, doing, foreign(m, id))
	}
	return nil
}

func (f Bundles) makeShelf(place *os.Root, ref vm.Ref, doing string) error {
	err := f.bundles.unlessGone(ref, doing, func() error { return place.Mkdir(bundlesName, 0o700) })
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncRoot(place)
}

// unlessGone makes a name in the folder of a VM that isn't being discarded, and
// is not going to be before that name is there: it would outlive its VM else.
// What do takes has to be short, as mailboxes wait behind it.
func (b *bundles) unlessGone(ref vm.Ref, doing string, do func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id, gone := b.gone[ref.Name]; gone && id == ref.VM {
		return host.Fail(host.Gone, doing, errDiscarded)
	}
	return do()
}

// discarding lets no name be made any more in the folder of that VM.
func (b *bundles) discarding(ref vm.Ref) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone == nil {
		b.gone = map[vm.Name]vm.ID{}
	}
	b.gone[ref.Name] = ref.VM
}

// claimed says that the folder is a VM's again.
func (b *bundles) claimed(name vm.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.gone, name)
}

// strange refuses evidence of another VM in a folder that nobody has claimed:
// its memory holds that one's secrets.
func strange(place *os.Root, id vm.ID) error {
	shelf, err := place.OpenRoot(bundlesName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer shelf.Close()
	names, err := namesIn(shelf)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != prunedName && !belongs(shelf, name, id) {
			return fmt.Errorf("it holds %s/%s of another VM, and no manifest; move it away", bundlesName, name)
		}
	}
	return nil
}

// belongs says whether a bundle is of that VM.
func belongs(shelf *os.Root, name string, id vm.ID) bool {
	b, err := readBundle(shelf, name)
	return err == nil && b.VM == id
}
