package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// A Scheduler is a kube-scheduler beside the cluster's own.
type Scheduler struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// RunScheduler starts a kube-scheduler for the pods that ask for it by name, with the extenders of the configuration in
// a file, or with none if that is empty. log is a file for what it writes; it is appended to.
func (c *Cluster) RunScheduler(name, kubeconfig, config, log string) (*Scheduler, error) {
	path, err := c.schedulerConfig(name, kubeconfig, config)
	if err != nil {
		return nil, err
	}
	output, err := openLog(log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	s := &Scheduler{log: log, done: make(chan struct{})}
	s.cmd = exec.Command(c.binary, "kube-scheduler", "--config="+path, "--secure-port=0")
	s.cmd.Stdout, s.cmd.Stderr = output, output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start scheduler: %w", err)
	}
	go func() {
		_ = s.cmd.Wait() // its log says more
		close(s.done)
	}()
	return s, nil
}

// schedulerConfig writes the configuration beside the kubeconfig.
func (c *Cluster) schedulerConfig(name, kubeconfig, config string) (string, error) {
	wanted := map[string]any{}
	if config != "" {
		text, err := os.ReadFile(config)
		if err != nil {
			return "", fmt.Errorf("read the scheduler's configuration: %w", err)
		}
		if err := yaml.Unmarshal(text, &wanted); err != nil {
			return "", fmt.Errorf("read the scheduler's configuration: %w", err)
		}
	}
	wanted["apiVersion"], wanted["kind"] = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
	wanted["clientConnection"] = map[string]any{"kubeconfig": kubeconfig, "qps": 1000, "burst": 2000}
	wanted["leaderElection"] = map[string]any{"leaderElect": false}
	wanted["profiles"] = []any{map[string]any{"schedulerName": name}}
	text, err := yaml.Marshal(wanted)
	if err != nil {
		return "", fmt.Errorf("write the scheduler's configuration: %w", err)
	}
	path := filepath.Join(filepath.Dir(c.Kubeconfig), "cache", name+".yaml") // goes with the cluster
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("write the scheduler's configuration: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write the scheduler's configuration: %w", err)
	}
	return path, nil
}

// Stop ends it, and fails with the end of its log if it had ended by itself.
func (s *Scheduler) Stop() error {
	select {
	case <-s.done:
		said, _ := os.ReadFile(s.log) // there is nothing else to say if this fails
		return fmt.Errorf("the scheduler has ended by itself: %s: %s", s.cmd.ProcessState, said[max(0, len(said)-1000):])
	default:
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	return nil
}
