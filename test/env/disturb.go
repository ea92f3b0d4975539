package env

import (
	"errors"
	"fmt"
)

// The components of a cluster that tests disturb.
const (
	Etcd      = "etcd"
	APIServer = "kube-apiserver"
)

// KillComponent ends a component of the cluster without warning. It stays away until
// [Cluster.StartComponent].
func (c *Cluster) KillComponent(name string) error { return c.disturb("kill", name) }

// StartComponent starts a component that was killed. It returns before the component is ready.
func (c *Cluster) StartComponent(name string) error { return c.disturb("start", name) }

// PauseComponent has a component stand still until [Cluster.ResumeComponent], as on a machine that hangs.
func (c *Cluster) PauseComponent(name string) error { return c.disturb("pause", name) }

// ResumeComponent has a component go on.
func (c *Cluster) ResumeComponent(name string) error { return c.disturb("resume", name) }

// disturb tells the cluster's supervisor what to do. The supervisor does so in a moment.
func (c *Cluster) disturb(verb, component string) error {
	if c.run == nil {
		return errors.New("only a cluster that this process has started can be disturbed")
	}
	if _, err := fmt.Fprintln(c.run.stdin, verb, component); err != nil {
		return fmt.Errorf("%s %s: %w", verb, component, err)
	}
	return nil
}
