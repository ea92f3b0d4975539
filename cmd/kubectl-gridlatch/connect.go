package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gridlatch/gridlatch/cmd/internal/version"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

// connection says which cluster is meant, by kubectl's own flags.
type connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	system     string // the namespace of the controller
}

// bind adds kubectl's flags. The help shows those that are used every day.
func (c *connection) bind(flags *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.Description = "namespace (default: that of the kubeconfig's context)"
	names.CurrentContext.Description = "context of the kubeconfig"
	usual := pflag.NewFlagSet("", pflag.ContinueOnError)
	clientcmd.BindOverrideFlags(&c.overrides, usual, names)
	usual.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = flag.Name != clientcmd.FlagNamespace && flag.Name != clientcmd.FlagContext
		flags.AddFlag(flag)
	})
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "path of the kubeconfig; kubectl's other flags for finding a cluster work, too")
	c.bindSystem(flags)
}

func (c *connection) bindSystem(flags *pflag.FlagSet) {
	flags.StringVar(&c.system, "gridlatch-namespace", "gridlatch-system", "namespace that Gridlatch runs in, and saves what it has learned in")
}

// namespace returns the namespace that a flag names, empty if none does.
func (c *connection) namespace() string { return c.overrides.Context.Namespace }

// findCluster finds the API server, and the namespace to use where none is named.
func findCluster(c connection) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = version.Get().UserAgent(name)
	namespace, _, err := loader.Namespace()
	return config, namespace, err
}

// connect connects to the cluster that is meant.
func (e env) connect(c connection) (*cluster.Cluster, error) {
	config, namespace, err := e.cluster(c)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.WarningHandler = rest.NewWarningWriter(e.stderr.Lines(), rest.WarningWriterOptions{Deduplicate: true})
	api, err := e.dial(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	return &cluster.Cluster{API: api, Namespace: namespace, System: c.system, Now: e.now().UTC().Truncate(time.Second)}, nil
}
