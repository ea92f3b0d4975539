// Package energy estimates the electric power of work from what the work requests.
//
// The model is the one of Cloud Carbon Footprint: a core draws its idle power, and a share of the
// rest by its utilisation. Memory draws power by its size, and a GPU does as a core does. The power
// usage effectiveness of the data centre multiplies all of this. No coefficient is measured on the
// node, so the estimate can be wrong by a factor of three. [Coefficients.Low] and
// [Coefficients.High] give the range. Within one piece of work the error cancels: the share that a
// later start saves does not depend on the coefficients.
package energy

// Source tells where the energy of work is known from.
type Source string

const (
	// Measured is energy that a meter has measured.
	Measured Source = "Measured"
	// Modelled is energy that is estimated from the requests and the run time of the pods.
	Modelled Source = "Modelled"
	// Stated is energy by the power that the work itself states.
	Stated Source = "Stated"
	// Unknown is the energy of work of which no source knows anything. It counts as 0.
	Unknown Source = "Unknown"
)

// Power is the power of a device in watts, when it does nothing and when it does all it can.
type Power struct {
	Idle float64 `json:"idle"`
	Max  float64 `json:"max"`
}

// Coefficients are the numbers of the model.
type Coefficients struct {
	// Core is the power of one core (vCPU).
	Core Power
	// CoreOf has the power of one core by the architecture of the node (kubernetes.io/arch), where
	// the power differs.
	CoreOf map[string]Power
	// Utilization is the share of its capacity that work uses, in 0..1.
	Utilization float64
	// GiBWatts is the power of one GiB of memory, in watts.
	GiBWatts float64
	// GPU is the power of a GPU of an unknown kind. GPUOf has the power by a piece of the kind: the
	// piece A100 stands for the kind NVIDIA-A100-SXM4-80GB. The longest piece counts.
	GPU   Power
	GPUOf map[string]Power
	// PUE is the power usage effectiveness of the data centre: at least 1.
	PUE float64
	// EmbodiedGramsPerNodeHour is what the making of a node has emitted, per hour of the node's
	// life, in gCO2eq.
	EmbodiedGramsPerNodeHour float64
}

// Requests are what a pod requests while it runs.
type Requests struct {
	Cores, GiB, GPUs float64
	// Arch and GPUKind are labels of the node: kubernetes.io/arch and nvidia.com/gpu.product; "" if
	// unknown.
	Arch, GPUKind string
}

// IsZero reports whether a pod requests nothing that draws power.
func (r Requests) IsZero() bool { return !(r.Cores > 0 || r.GiB > 0 || r.GPUs > 0) }
