package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// namePrefix begins the names of a node's directory and of its cgroups. The process that runs the node ends them.
const namePrefix = "gridlatch-node-"

func nameOf(process int) string { return namePrefix + strconv.Itoa(process) }

// sweep removes what nodes have left whose process was killed.
func sweep() error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	var all error
	for _, parent := range append(hierarchies, os.TempDir()) {
		found, err := filepath.Glob(filepath.Join(parent, namePrefix+"*"))
		if err != nil {
			return fmt.Errorf("find what killed nodes have left: %w", err)
		}
		for _, path := range found {
			name := filepath.Base(path)
			process, err := strconv.Atoi(strings.TrimPrefix(name, namePrefix))
			if err == nil && !runsNode(process) {
				all = errors.Join(all, remove(name))
			}
		}
	}
	return all
}

// runsNode tells whether a process is one that runs a node.
func runsNode(process int) bool {
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process))
	return err == nil && strings.HasPrefix(string(command), "gridlatch-node") && process != os.Getpid()
}

// remove removes the cgroups and the directory of a node, none of whose processes lives.
func remove(name string) error {
	err := removeCgroups(name)
	if removed := os.RemoveAll(filepath.Join(os.TempDir(), name)); removed != nil {
		err = errors.Join(err, fmt.Errorf("remove the node's files: %w", removed))
	}
	return err
}
