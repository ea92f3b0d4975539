package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type object = map[string]any

// configure writes the configuration of containerd, the pods' network and the kubelet.
func configure(dir string, net network, kubeconfigPath string) error {
	plugins, err := pluginDirectory()
	if err != nil {
		return err
	}
	containerd, err := containerdConfiguration(dir, plugins)
	if err != nil {
		return err
	}
	kubeconfig, err := os.ReadFile(kubeconfigPath)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	bridge, err := json.Marshal(podNetwork(net))
	if err != nil {
		return fmt.Errorf("write the pods' network: %w", err)
	}
	kubelet, err := json.Marshal(kubeletConfiguration(dir))
	if err != nil {
		return fmt.Errorf("write the kubelet's configuration: %w", err)
	}
	for name, content := range map[string][]byte{
		"containerd.toml": containerd, "cni/bridge.conflist": bridge, "kubelet.json": kubelet, "kubeconfig": kubeconfig,
		"resolv.conf": []byte("# The pods of this node resolve no names.\nnameserver 127.0.0.1\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return fmt.Errorf("configure the node: %w", err)
		}
	}
	return nil
}

func containerdConfiguration(dir, plugins string) ([]byte, error) {
	snapshotter := "overlayfs"
	var about unix.Statfs_t
	if err := unix.Statfs(dir, &about); err != nil {
		return nil, fmt.Errorf("find the file system of %s: %w", dir, err)
	}
	if about.Type == unix.OVERLAYFS_SUPER_MAGIC { // overlays cannot be stacked that deep
		snapshotter = "native"
	}
	// Roots of their own are not needed: the node has its own /run and /var/lib.
	return fmt.Appendf(nil, `version = 3
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true # not every machine lets root lower it
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = [%q]
    conf_dir = %q
[plugins.'io.containerd.cri.v1.images']
  snapshotter = %q
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = %q
`, plugins, filepath.Join(dir, "cni"), snapshotter, pauseImage), nil
}

func podNetwork(net network) object {
	return object{
		"cniVersion": "1.0.0", "name": "pods",
		"plugins": []object{{
			"type": "bridge", "bridge": bridgeName, "isDefaultGateway": true, "hairpinMode": true,
			"ipam": object{"type": "host-local", "ranges": [][]object{{{
				"subnet": net.subnet(), "gateway": net.node(), "rangeStart": net.firstPod(), "rangeEnd": net.lastPod(),
			}}}},
		}},
	}
}

func kubeletConfiguration(dir string) object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"resolvConf":               filepath.Join(dir, "resolv.conf"),
		// Named as the directory. Two nodes would remove each other's pods if they shared a cgroup.
		"cgroupRoot": "/" + filepath.Base(dir), "cgroupDriver": "cgroupfs", "failCgroupV1": false, "enforceNodeAllocatable": []string{},
		"failSwapOn": false, "makeIPTablesUtilChains": false,
		// Only this machine reaches the kubelet, and tests read logs without certificates.
		"authentication": object{"anonymous": object{"enabled": true}, "webhook": object{"enabled": false}},
		"authorization":  object{"mode": "AlwaysAllow"},
		"readOnlyPort":   0,
		// A test's disk may be nearly full, and no test wants its pods evicted for that.
		"evictionHard":                object{"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
		"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
		"nodeStatusUpdateFrequency": "5s", "syncFrequency": "10s",
		"registryPullQPS": 0, "serializeImagePulls": false,
		"shutdownGracePeriod": "0s",
	}
}
