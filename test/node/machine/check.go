package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Check returns why this machine cannot run a node, or nil.
func Check() error {
	if os.Getuid() != 0 {
		return errors.New("only root can run containers")
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return errors.New("runc is not installed; run: make runc")
	}
	if _, err := pluginDirectory(); err != nil {
		return err
	}
	if _, err := cgroupHierarchies(); err != nil {
		return err
	}
	// A machine may refuse new namespaces even to root, as a container does.
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := probe.Run(); err != nil {
		return fmt.Errorf("this machine refuses new namespaces: %w", err)
	}
	return nil
}

// pluginDirectory returns where the plugins are that give pods a network.
func pluginDirectory() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the CNI plugins are not installed; run: make runc")
}
