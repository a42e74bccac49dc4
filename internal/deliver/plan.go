package deliver

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// maxDepth is how deep .forward files may include others.
const maxDepth = 5

// A plan is where one message goes for one recipient.
type plan struct {
	targets   []mailbox.Target // Maildirs, hard-linked
	files     []string         // mbox files, relative to the home
	programs  [][]string
	addresses []address.Address
}

// simple reports whether the plan is the recipient's own mailbox and no more.
func (p *plan) simple() bool {
	return len(p.targets) == 1 && len(p.files)+len(p.programs)+len(p.addresses) == 0
}

// plan decides where mail for r goes. An error of the .forward file is
// temporary: the mail waits until its owner has mended it.
func (a *Agent) plan(r *recipient) (*plan, error) {
	entries, err := readForward(r)
	if err != nil {
		return nil, a.distrust(r, err)
	}
	p := new(plan)
	if len(entries) == 0 {
		return p, a.own(p, r)
	}
	for _, e := range entries {
		if err := a.add(p, r, e); err != nil {
			return nil, a.distrust(r, err)
		}
	}
	return p, nil
}

// distrust reports a .forward file that cannot be used. The network does not
// hear of paths.
func (a *Agent) distrust(r *recipient, err error) error {
	a.o.Log.Event(eventlog.ForwardDistrust, "recipient", r.Address, "home", r.home, "error", err)
	return status.New(451, "4.3.5", "cannot use the forwarding instructions of this account").Because("read .forward", err)
}

// own adds the recipient's mailbox: the folder that the detail names, if
// there is one.
func (a *Agent) own(p *plan, r *recipient) error {
	t := mailbox.Target{Root: r.root, Quota: r.quota}
	if r.detail != "" && mailbox.CheckName(r.detail) == nil {
		has, err := a.o.Store.HasFolder(r.root, r.detail)
		if err != nil {
			return err
		}
		if has {
			t.Folder = r.detail
		}
	}
	p.targets = append(p.targets, t)
	return nil
}

func (a *Agent) add(p *plan, r *recipient, e entry) error {
	switch e.kind {
	case toProgram:
		if !a.policy().Pipes {
			return errors.New("programs are not allowed (control forward-pipes)")
		}
		p.programs = append(p.programs, e.args)
	case toFile, toMaildir:
		rel, err := inHome(r.home, e.text)
		if err != nil {
			return err
		}
		if e.kind == toFile {
			p.files = append(p.files, rel)
			return nil
		}
		p.targets = append(p.targets, mailbox.Target{Root: filepath.Join(r.home, rel)})
	default:
		return a.addAddress(p, r, e)
	}
	return nil
}

// addAddress adds an address. One that is the recipient's own means the
// mailbox, and so does \user.
func (a *Agent) addAddress(p *plan, r *recipient, e entry) error {
	text := e.text
	if !strings.Contains(text, "@") {
		text += "@" + r.user.Domain
	}
	to, err := address.Parse(text, true)
	if err != nil {
		return fmt.Errorf("address %.80q: %w", e.text, err)
	}
	if key := to.Key(); key == r.user.Key() || key == r.addr.Key() {
		return a.own(p, r)
	}
	p.addresses = append(p.addresses, to)
	return nil
}

// inHome returns path relative to the home, if it lies below it by name and
// through symbolic links.
func inHome(home, path string) (string, error) {
	rel, err := filepath.Rel(home, filepath.Clean(path))
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", fmt.Errorf("%s is not inside the home", path)
	}
	root, err := os.OpenRoot(home)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for part := rel; part != "."; part = filepath.Dir(part) {
		if _, err = root.Stat(part); err == nil {
			return rel, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
	return rel, nil
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// readForward returns the entries of the recipient's .forward file with those
// that it includes, none where there is no such file.
func readForward(r *recipient) ([]entry, error) {
	if r.home == "" {
		return nil, nil
	}
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(r.home, ".forward"), &st) // the usual case, for one system call
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil, nil
	}
	root, err := os.OpenRoot(r.home)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return forwardEntries(root, r, ".forward", maxDepth)
}

func forwardEntries(root *os.Root, r *recipient, name string, depth int) ([]entry, error) {
	text, err := readTrusted(root, r, name)
	if err != nil {
		return nil, err
	}
	entries, err := parseForward(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var all []entry
	for _, e := range entries {
		if e.kind != toInclude {
			all = append(all, e)
			continue
		}
		if depth == 0 {
			return nil, fmt.Errorf("%s: files include one another too deeply", name)
		}
		rel, err := inHome(r.home, e.text)
		if err != nil {
			return nil, err
		}
		more, err := forwardEntries(root, r, rel, depth-1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
	}
	return all, nil
}

// readTrusted reads a small file that only its rightful owner can have
// written: root, the owner of the account or of the home, or ourselves; and
// neither its group nor everybody may write it.
func readTrusted(root *os.Root, r *recipient, name string) (string, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if err := trusted(info, root, r); err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxForward+1))
	if err == nil && len(b) > maxForward {
		err = fmt.Errorf("%s is larger than %d octets", name, maxForward)
	}
	return string(b), err
}

func trusted(info fs.FileInfo, root *os.Root, r *recipient) error {
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return errors.New("can be written by its group or by everybody; chmod go-w it")
	}
	owner := ownerOf(info)
	if owner == 0 || owner == os.Geteuid() || owner == r.uid {
		return nil
	}
	if home, err := root.Stat("."); err == nil && owner == ownerOf(home) {
		return nil
	}
	return fmt.Errorf("belongs to user %d, who is not the owner of the home", owner)
}
