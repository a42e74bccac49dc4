package power_test

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// A guest is a virtual machine with the programs in its memory and the disk
// behind a virtio driver, without any cache of the host.
type guest struct {
	kernel, initrd string
	disk           string // the image that belongs to memory
	memory         string // the machine as it was when its programs were ready
}

// unpackKernel finds a kernel: the Debian package that PEYK_KERNEL_DEB names,
// or else the one that apt-get downloads.
func unpackKernel(t *testing.T, dir string) string {
	t.Helper()
	deb := os.Getenv("PEYK_KERNEL_DEB")
	if deb == "" {
		cmd := exec.Command("sh", "-c", `apt-get -q download "$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)"`)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		found, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil || len(found) != 1 {
			t.Skipf("no kernel for the guest: apt-get download: %v\n%s", err, out)
		}
		deb = found[0]
	}
	to := filepath.Join(dir, "kernel")
	if out, err := exec.Command("dpkg-deb", "-x", deb, to).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return to
}

// makeGuest builds the initial file system of the machine, and boots it.
func makeGuest(t *testing.T, p *prepared, bin, dir string) *guest {
	t.Helper()
	tree := unpackKernel(t, dir)
	kernels, _ := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if len(kernels) != 1 {
		t.Fatalf("kernels: %q", kernels)
	}
	var a archive
	for _, d := range []string{"dev", "proc", "sys", "run", "m", "modules", "bin"} {
		a.dir(d)
	}
	order := a.modules(t, tree, "virtio_pci", "virtio_blk", "virtio_net")
	a.file("modules/order", []byte(strings.Join(order, "\n")))
	for _, program := range []string{"authd", "deliver", "queue-run", "smtpd", "imapd"} {
		a.copy(t, "bin/"+program, filepath.Join(bin, program))
	}
	init := filepath.Join(dir, "init")
	cmd := exec.Command("go", "build", "-o", init, "peyk/test/crash/power/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a.copy(t, "init", init)
	a.file("commands", []byte(guestCommands()))
	g := &guest{kernel: kernels[0], initrd: filepath.Join(dir, "initrd"), disk: filepath.Join(dir, "guest.img"), memory: filepath.Join(dir, "memory")}
	tr := p.start(t, bin, dir, 0)
	err := errors.Join(os.WriteFile(g.initrd, a.end(), 0o600), copyFile(tr.image, p.image))
	if err == nil {
		err = g.boot(tr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// guestCommands are the daemons as the machine starts them.
func guestCommands() string {
	s := &system{bin: "/bin", disk: "/m", run: "/run"}
	var b strings.Builder
	for _, program := range []string{"authd", "deliver", "queue-run", "smtpd", "imapd"} {
		args := append([]string{"/bin/" + program}, s.flags(program)...)
		switch program {
		case "deliver":
			args = append(args, "-listen")
		case "smtpd":
			args = append(args, "-listen-smtp", "0.0.0.0:25")
		case "imapd":
			args = append(args, "-listen-imap", "0.0.0.0:143")
		}
		fmt.Fprintln(&b, strings.Join(args, "\t"))
	}
	return b.String()
}

// An archive is a cpio archive in the form that the kernel takes (newc).
type archive struct {
	bytes.Buffer
	n int
}

func (a *archive) entry(name string, mode int, data []byte) {
	a.n++
	fmt.Fprintf(a, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", a.n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

func (a *archive) dir(name string)               { a.entry(name, 0o040755, nil) }
func (a *archive) file(name string, data []byte) { a.entry(name, 0o100755, data) }
func (a *archive) end() []byte                   { a.entry("TRAILER!!!", 0, nil); return a.Bytes() }

func (a *archive) copy(t *testing.T, name, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	a.file(name, data)
}

// modules adds drivers and what they depend on, and returns the order in which
// they must be loaded.
func (a *archive) modules(t *testing.T, tree string, names ...string) (order []string) {
	t.Helper()
	paths := map[string]string{}
	filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	var add func(name string)
	add = func(name string) {
		file := name + ".ko"
		if slices.Contains(order, file) || paths[name] == "" {
			return // there already, or part of the kernel
		}
		for _, need := range depends(t, paths[name]) {
			add(need)
		}
		order = append(order, file)
		a.copy(t, "modules/"+file, paths[name])
	}
	for _, name := range names {
		add(name)
	}
	return order
}

// depends reads what a kernel module says it needs.
func depends(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(strings.ReplaceAll(list, "-", "_"), ",")
		}
	}
	return nil
}

// bootTime is how long a machine may take on a busy host.
const bootTime = 3 * time.Minute

// command is the machine on the disk and the ports of a trial.
func (g *guest) command(tr *trial, more ...string) *exec.Cmd {
	smtp, imap := sandbox.FreePort(tr), sandbox.FreePort(tr)
	tr.smtp, tr.imap = fmt.Sprintf("127.0.0.1:%d", smtp), fmt.Sprintf("127.0.0.1:%d", imap)
	return exec.Command("qemu-system-x86_64", append([]string{"-accel", "tcg", "-cpu", "max", "-m", "384", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio",
		"-kernel", g.kernel, "-initrd", g.initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-drive", "file=" + tr.image + ",format=raw,if=virtio,cache=none",
		"-netdev", fmt.Sprintf("user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:%d-:25,hostfwd=tcp:127.0.0.1:%d-:143", smtp, imap), "-device", "virtio-net-pci,netdev=n,romfile="}, more...)...)
}

// boot boots the machine once, and keeps its memory and its disk for resume:
// to boot is slow without virtualisation by the processor.
func (g *guest) boot(tr *trial) error {
	monitor := tr.socket("monitor")
	cmd := g.command(tr, "-monitor", "unix:"+monitor+",server=on,wait=off")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	late := time.AfterFunc(bootTime, func() { cmd.Process.Kill() })
	defer late.Stop()
	var console strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		console.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "guest: ready") {
			return g.save(monitor, tr)
		}
	}
	return fmt.Errorf("the machine does not get ready: %s\n%s", errs.String(), console.String())
}

// save writes the machine's memory to a file, as for a move to another host,
// and copies the disk that belongs to it.
func (g *guest) save(monitor string, tr *trial) error {
	conn, err := net.Dial("unix", monitor)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(bootTime))
	fmt.Fprintf(conn, "migrate \"exec:cat >%s\"\ninfo migrate\nquit\n", g.memory)
	said, _ := io.ReadAll(conn)
	if !bytes.Contains(said, []byte("Migration status: completed")) && !bytes.Contains(said, []byte("Status: completed")) {
		return fmt.Errorf("cannot save the machine: %s", said)
	}
	return copyFile(g.disk, tr.image)
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return writeImage(to, b)
}

// resume starts a machine on a disk of its own, from where boot left it, and
// waits until it answers.
func (g *guest) resume(tr *trial) (*exec.Cmd, error) {
	if err := copyFile(tr.image, g.disk); err != nil {
		return nil, err
	}
	cmd := g.command(tr, "-incoming", "exec:cat "+g.memory)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", tr.smtp); err == nil {
			conn.Close()
			return cmd, nil
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	return nil, fmt.Errorf("the machine does not come back: %s", errs.String())
}

// TestGuestCuts kills a machine while it works.
func TestGuestCuts(t *testing.T) {
	needs(t, "mkfs.ext4", "qemu-system-x86_64", "dpkg-deb")
	if !full() {
		t.Skip("make crash does it")
	}
	n := count(t, "PEYK_POWER_GUESTS", 0, 50)
	bin, dir := built(t), workDir(t)
	p := prepare(t, bin, dir)
	g := makeGuest(t, p, bin, dir)
	acked, extra, slowest := 0, 0, time.Duration(0)
	for i := range n {
		tr := p.start(t, bin, dir, uint64(i))
		before := tr.acknowledged()
		o := g.cut(tr)
		acked, extra, slowest = acked+tr.acknowledged()-before, extra+o.extra, max(slowest, o.took)
		if len(o.faults) > 0 {
			keep(tr.image)
			t.Errorf("cut %d: %d faults: %s", i, len(o.faults), strings.Join(o.faults[:min(6, len(o.faults))], "\n\t"))
		}
	}
	t.Logf("%d machines killed: %d acts acknowledged, %d extra copies, the queue empty again after at most %v", n, acked, extra, slowest.Round(time.Millisecond))
	if acked < n {
		t.Errorf("only %d acts were acknowledged", acked)
	}
}

// cut lets one machine work for a while, kills it, and judges its disk.
func (g *guest) cut(tr *trial) outcome {
	tr.Helper()
	cmd, err := g.resume(tr)
	if err != nil {
		tr.Fatal(err)
	}
	end := sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	defer end()
	before := tr.acknowledged()
	f := tr.traffic()
	for deadline := time.Now().Add(patience); tr.acknowledged() < before+20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // everybody is at work
	}
	time.Sleep(rand.N(3 * time.Second)) // the power goes at any time
	if len(f.errs) > 0 {
		tr.Errorf("before the cut: %v", f.errs)
	}
	m := moment{from: tr.tick()}
	end()
	m.to = tr.tick()
	close(f.stop)
	f.wait.Wait()
	mounted(tr.T, tr.image, tr.disk)
	defer unmounted(tr.T, tr.disk)
	return tr.check(tr.books, m)
}
