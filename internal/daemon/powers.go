package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Powers are what a daemon still may do once it has opened what it needs: the
// line of powers that one can hold against its unit file. Sockets that are
// open already, and Unix sockets by path, are not covered.
type Powers struct {
	ReadOnly   []string // files and directories that it may read
	ReadWrite  []string // directories that it may change, with all below
	Run        []string // directories whose programs it may run
	ConnectTCP bool     // it may open TCP connections
	BindTCP    bool     // it may listen on further TCP ports
}

// system lists what the Go runtime and the resolver read in any program.
var system = []string{"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group",
	"/etc/localtime", "/usr/share/zoneinfo", "/etc/ssl/certs", "/usr/share/ca-certificates", "/proc/self", "/dev/null"}

// allFS is every file access right of Landlock ABI 5.
const allFS = landlock.AccessFSSet(1<<16 - 1)

// Confine gives up everything else, for all threads and for good (Landlock,
// kernel 5.13 and later; on older kernels the unit file has to do it alone).
// It returns the ABI version that the kernel offers, 0 for none.
func (p Powers) Confine() (abi int, err error) {
	abi, err = ll.LandlockGetABIVersion()
	if err != nil {
		return 0, nil
	}
	var net landlock.AccessNetSet
	if !p.ConnectTCP {
		net |= ll.AccessNetConnectTCP
	}
	if !p.BindTCP {
		net |= ll.AccessNetBindTCP
	}
	cfg, err := landlock.NewConfig(allFS, net, landlock.ScopedSet(ll.ScopeSignal))
	if err != nil {
		return abi, err
	}
	return abi, cfg.BestEffort().Restrict(p.rules()...)
}

func (p Powers) rules() []landlock.Rule {
	const read = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSReadDir)
	const run = read | ll.AccessFSExecute
	var rules []landlock.Rule
	for _, path := range append(existing(system), existing(p.ReadOnly)...) {
		rules = append(rules, landlock.PathAccess(read&rightsOf(path), path))
	}
	for _, path := range existing(p.Run) {
		rules = append(rules, landlock.PathAccess(run&rightsOf(path), path))
	}
	if dirs := existing(p.ReadWrite); len(dirs) > 0 {
		rules = append(rules, landlock.RWDirs(dirs...).WithRefer())
	}
	return rules
}

// rightsOf leaves out the rights that the kernel knows for directories only.
func rightsOf(path string) landlock.AccessFSSet {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return allFS
	}
	return ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
}

// existing resolves symbolic links and leaves out what is not there.
func existing(paths []string) []string {
	var found []string
	for _, path := range paths {
		if path == "" {
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			found = append(found, real)
		}
	}
	return found
}

// print writes the powers for -powers, one "key value" a line.
func (p Powers) print(w io.Writer, name string) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		abi = 0
	}
	fmt.Fprintf(w, "program %s\nuid %d\ngid %d\nlandlock-abi %d\n", name, os.Geteuid(), os.Getegid(), abi)
	for _, path := range p.ReadOnly {
		fmt.Fprintf(w, "read %s\n", path)
	}
	for _, path := range p.ReadWrite {
		fmt.Fprintf(w, "write %s\n", path)
	}
	fmt.Fprintf(w, "run %s\n", or(strings.Join(p.Run, " "), "nothing"))
	fmt.Fprintf(w, "connect-tcp %s\n", yesno(p.ConnectTCP))
	fmt.Fprintf(w, "bind-tcp %s\n", yesno(p.BindTCP))
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func yesno(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
