package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bootCommand is the name under which Run starts this program in the node's namespaces.
	bootCommand = "boot"

	containerdSocket = "/run/containerd/containerd.sock"
	// socketPatience is how long containerd may take to listen.
	socketPatience = time.Minute
)

// A bootOrder says what the first process of a node does.
type bootOrder struct {
	Node                      Node
	Directory, Logs, Programs string
}

// boot is the first process of a node: it prepares the node's view of the file system, starts containerd, imports the
// images that every node has, starts the kubelet, says so, and takes care of orphans. It returns when one of the two has
// ended, or when nobody gives orders any more.
func boot(orders io.Reader, output io.Writer) error {
	var order bootOrder
	if err := json.NewDecoder(orders).Decode(&order); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if err := mountAll(order.Directory, order.Logs); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(order.Node.Name)); err != nil {
		return fmt.Errorf("name the node: %w", err)
	}
	path := order.Programs + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	start := func(name string, args ...string) (*exec.Cmd, error) {
		log, err := os.Create(filepath.Join(order.Logs, name+".log"))
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		defer log.Close()
		cmd := exec.Command(filepath.Join(order.Programs, name), args...)
		cmd.Stdout, cmd.Stderr, cmd.Env = log, log, []string{"PATH=" + path}
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		return cmd, nil
	}
	containerd, err := start("containerd", "--config="+filepath.Join(order.Directory, "containerd.toml"))
	if err != nil {
		return err
	}
	if err := awaitSocket(containerdSocket); err != nil {
		return err
	}
	if err := importImages(order); err != nil {
		return err
	}
	kubelet, err := start("kubelet", "--config="+filepath.Join(order.Directory, "kubelet.json"), "--hostname-override="+order.Node.Name,
		"--kubeconfig="+filepath.Join(order.Directory, "kubeconfig"), "--node-ip="+order.Node.Address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(output, "booted"); err != nil {
		return fmt.Errorf("say that the node runs: %w", err)
	}
	return reap(map[int]string{containerd.Process.Pid: "containerd", kubelet.Process.Pid: "kubelet"})
}

// mountAll makes the node's view of the file system: its own /run, /var/lib and /var/log, and the processes and kernel
// parameters of its namespaces. No mount is seen outside.
func mountAll(dir, logs string) error {
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{filepath.Join(dir, "lib"), "/var/lib", "", unix.MS_BIND},
		{logs, "/var/log", "", unix.MS_BIND},
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return hideTunables(filepath.Join(dir, "tunables"))
}

// hideTunables has the kubelet find the parameters of the kernel as it wants them. Otherwise it would set them for the
// whole machine.
func hideTunables(dir string) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("hide the kernel's parameters: %w", err)
		}
		if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide /proc/sys/%s: %w", name, err)
		}
	}
	return nil
}

func awaitSocket(path string) error {
	for deadline := time.Now().Add(socketPatience); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("unix", path)
		if err == nil {
			connection.Close()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("containerd does not listen: %w", err)
		}
	}
}

// importImages imports the images that every node has.
func importImages(order bootOrder) error {
	archive := filepath.Join(order.Directory, "images.tar")
	if err := writeImages(archive, order.Programs); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(order.Programs, "ctr"), "--namespace=k8s.io", "images", "import", archive)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import images: %w: %s", err, output)
	}
	return nil
}

// reap waits for all processes whose parent has ended, as the first process must, until one of the watched ends.
func reap(watched map[int]string) error {
	for {
		var status unix.WaitStatus
		process, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if name := watched[process]; name != "" {
			return fmt.Errorf("%s has ended with status %d; see %s.log", name, status, name)
		}
	}
}
