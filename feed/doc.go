// Package feed brings forecasts from ConfigMaps into a forecast.Store, and keeps what the models
// have learned in ConfigMaps of Gridlatch's own.
//
// [Feed] watches each ConfigMap that a CarbonPolicy or a CarbonAwareKedaScaler names. [Memory]
// saves the history of each location every twenty minutes, and reads the histories when the program
// starts. [GridCollector] exports what is known of the grid as metrics.
package feed
