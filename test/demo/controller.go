package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gridlatch/gridlatch/test/env"
)

// Where things are, from the top of the source tree. All is in what `gridlatch-cluster down` removes.
const (
	clusterDir    = ".cluster"
	clusterBinary = "bin/gridlatch-cluster"
	binary        = "bin/gridlatch"
	kubeconfig    = clusterDir + "/kubeconfig"
	ownDir        = clusterDir + "/cache/demo"
	logsDir       = clusterDir + "/logs"
	controllerLog = logsDir + "/gridlatch.log"
	controllerPID = logsDir + "/gridlatch.pid"
	exporterLog   = logsDir + "/gridlatch-export.log"
)

// up starts a cluster, unless there is one, and returns what was said of it.
func up(ctx context.Context, flags ...string) (string, error) {
	output, err := exec.CommandContext(ctx, clusterBinary, append([]string{"up", "--dir", clusterDir, "--nodes", "3"}, flags...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("start the cluster (is it built? make bin/gridlatch-cluster): %w\n%s", err, output)
	}
	return string(output), nil
}

// attach connects by a copy of the administrator's kubeconfig, since what env writes stands beside the one it is given.
func attach() (*env.Cluster, error) {
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	if err := os.MkdirAll(ownDir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	copied := filepath.Join(ownDir, "kubeconfig")
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		return nil, fmt.Errorf("copy kubeconfig: %w", err)
	}
	return env.Attach(copied)
}

// replaceController stops the controller that an earlier demo left running, and runs one that stays when the demo
// ends. The API server trusts and reaches it when this returns.
func replaceController(ctx context.Context, c *env.Cluster, flags ...string) (*env.Controller, error) {
	if err := stopController(ctx); err != nil {
		return nil, err
	}
	g, err := c.RunGridlatch(ctx, controllerLog, flags...)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(controllerPID, []byte(strconv.Itoa(g.PID)+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("note the controller's process id: %w", err), g.Stop())
	}
	return g, nil
}

// stopController stops the controller whose process id was noted, if it still runs.
func stopController(ctx context.Context) error {
	text, err := os.ReadFile(controllerPID)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the running controller: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 || !isController(pid) {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the running controller: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = env.Poll(ctx, func(context.Context) error {
		if isController(pid) {
			return errors.New("still running")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("stop the running controller, process %d: %w", pid, err)
	}
	return nil
}

// isController tells whether a process is a controller of the demo's cluster, so that nobody else's is ever signalled.
func isController(pid int) bool {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	root, err := os.Getwd()
	if err != nil {
		return false
	}
	begins := filepath.Join(root, binary) + "\x00--kubeconfig=" + filepath.Join(root, ownDir) + "/"
	return strings.HasPrefix(string(command), begins)
}
