// Command guest is the first process of the virtual machine that
// guest_test.go kills: it loads the drivers, mounts the disk, starts the
// programs and says on the console that they answer.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := boot(); err != nil {
		fmt.Println("guest:", err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	}
	fmt.Println("guest: ready")
	for {
		time.Sleep(time.Hour) // the host ends it
	}
}

func boot() error {
	for _, step := range []func() error{mounts, modules, disk, network, programs} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func mounts() error {
	for _, fs := range [][2]string{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/run"}} {
		if err := unix.Mount(fs[0], fs[1], fs[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", fs[1], err)
		}
	}
	return nil
}

// modules loads the drivers in the order of the list.
func modules() error {
	for _, name := range lines("/modules/order") {
		f, err := os.Open("/modules/" + name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

func lines(path string) []string {
	b, _ := os.ReadFile(path)
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// disk mounts the disk; its driver takes a moment to find it.
func disk() (err error) {
	for range 1000 {
		if err = unix.Mount("/dev/vda", "/m", "ext4", unix.MS_NOATIME, "commit=600"); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("mount /dev/vda: %w", err)
}

// network gives the two interfaces their addresses, as QEMU's user network
// wants them.
func network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for name, address := range map[string][]byte{"lo": {127, 0, 0, 1}, "eth0": {10, 0, 2, 15}} {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetInet4Addr(address)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
		ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	return nil
}

// programs starts the lines of /commands, words between tabs, one when the one
// before is ready.
func programs() error {
	log, err := os.Create("/run/log")
	if err != nil {
		return err
	}
	for _, line := range lines("/commands") {
		if err := start(strings.Split(line, "\t"), log); err != nil {
			text, _ := os.ReadFile("/run/log")
			return fmt.Errorf("%s: %w\n%s", line, err, text)
		}
	}
	return nil
}

func start(words []string, log *os.File) error {
	notice, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/notify", Net: "unixgram"})
	if err != nil {
		return err
	}
	defer os.Remove("/run/notify")
	defer notice.Close()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stderr = log
	cmd.Env = []string{"NOTIFY_SOCKET=/run/notify", "TMPDIR=/run"}
	if err := cmd.Start(); err != nil {
		return err
	}
	notice.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = notice.Read(make([]byte, 256))
	return err
}
