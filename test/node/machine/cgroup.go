package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupPatience is how long the kernel may take to take ended processes out of their cgroups.
const cgroupPatience = 10 * time.Second

// cgroupHierarchies returns where the hierarchies of cgroups are mounted: one for version 2, one for each controller
// for version 1.
func cgroupHierarchies() ([]string, error) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	defer mounts.Close()
	var found []string
	for scanner := bufio.NewScanner(mounts); scanner.Scan(); {
		// The device, where it is mounted, and its type.
		fields := strings.Fields(scanner.Text())
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			found = append(found, fields[1])
		}
	}
	if len(found) == 0 {
		return nil, errors.New("there are no cgroups on this machine")
	}
	return found, nil
}

// makeCgroups makes the cgroup of a node in all hierarchies.
func makeCgroups(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		enableControllers(hierarchy)
		group := filepath.Join(hierarchy, name)
		if err := os.MkdirAll(group, 0o755); err != nil { //nolint:gosec // the kernel's, for all to read
			return fmt.Errorf("make cgroup: %w", err)
		}
		// In version 1, a new cgroup has no processors until it is given some.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(hierarchy, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(group, file), value, 0o600)
			}
			if err != nil {
				return fmt.Errorf("give %s its processors: %w", group, err)
			}
		}
	}
	return nil
}

// enableControllers has new cgroups have all controllers, as the kubelet wants. Version 1 does so by itself. The kubelet
// says which controller is missing if one cannot be enabled.
func enableControllers(hierarchy string) {
	controllers, err := os.ReadFile(filepath.Join(hierarchy, "cgroup.controllers"))
	if err != nil {
		return // version 1
	}
	for _, controller := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(hierarchy, "cgroup.subtree_control"), []byte("+"+controller), 0o600)
	}
}

// removeCgroups removes the cgroups of a node, none of whose processes lives. The cgroups need not exist.
func removeCgroups(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range hierarchies {
		if err := removeCgroup(filepath.Join(hierarchy, name)); err != nil {
			return err
		}
	}
	return nil
}

func removeCgroup(top string) error {
	var groups []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			groups = append(groups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	slices.Reverse(groups) // the inner ones first
	for _, group := range groups {
		deadline := time.Now().Add(cgroupPatience)
		for err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist); err = os.Remove(group) {
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
