import { type Configuration, isType, typedOf } from './model.ts'
import { NotReadable, sourceInside } from './node.ts'
import { readYaml } from './read-yaml.ts'
import { Setting } from './setting.ts'

/**
 * Adds what a document holds: a bootstrap, a config dump, xDS resources, a Kubernetes resource or a mesh configuration.
 * @returns false where it is none of these
 */
export function gather(root: Setting, into: Configuration): boolean {
  if (root.at('kind').text !== undefined && root.at('apiVersion').text !== undefined) return gatherKubernetes(root, into)
  if (root.at('configs').isList) return gatherDump(root.at('configs'), into)
  if (root.at('static_resources').present || root.at('dynamic_resources').present) return gatherBootstrap(root, into)
  if (root.at('resources').isList) return some(root.at('resources').items, (item) => gatherResource(unwrapped(item), into))
  // Lists as istioctl and admin tools print them.
  if (root.isList) return some(root.items, (item) => gatherResource(item, into))
  if (gatherResource(root, into)) return true
  const mesh = root.at('meshConfig').isMap ? root.at('meshConfig') : root
  if (!mesh.at('extensionProviders').isList && mesh === root) return false
  into.meshes.push(mesh)
  return true
}

/** Whether any of them was taken; all are tried. */
const some = (items: readonly Setting[], take: (item: Setting) => boolean): boolean => items.filter(take).length > 0

/** A Resource of xDS wraps what it carries. */
const unwrapped = (item: Setting): Setting => (isType(item.at('@type').text ?? '', 'discovery.v3.Resource') ? item.at('resource') : item)

function gatherBootstrap(root: Setting, into: Configuration): boolean {
  const { envoy } = into
  if (root.at('admin').present) envoy.admin.push(root.at('admin'))
  const resources = root.at('static_resources')
  envoy.listeners.push(...resources.at('listeners').items)
  for (const cluster of resources.at('clusters').items) envoy.clusters.set(cluster.at('name').text ?? '', cluster)
  for (const secret of resources.at('secrets').items) envoy.secrets.set(secret.at('name').text ?? '', secret)
  return true
}

/** What an Any says of itself, or what a resource without type looks like. */
function gatherResource(item: Setting, into: Configuration): boolean {
  const { envoy } = into
  const { type, config } = typedOf(item)
  const name = config.at('name').text ?? ''
  const is = (message: string, ...members: string[]): boolean =>
    type === '' ? members.some((member) => config.at(member).present) : isType(type, message)
  if (is('Listener', 'filter_chains', 'default_filter_chain')) envoy.listeners.push(config)
  else if (is('RouteConfiguration', 'virtual_hosts')) envoy.routeConfigs.set(name, config)
  else if (is('Cluster', 'load_assignment', 'eds_cluster_config')) envoy.clusters.set(name, config)
  else if (is('ClusterLoadAssignment', 'cluster_name')) envoy.assignments.set(config.at('cluster_name').text ?? '', config)
  else if (is('TypedExtensionConfig')) envoy.filterConfigs.set(name, config.at('typed_config'))
  else if (is('Secret')) envoy.secrets.set(name, config)
  else if (is('Bootstrap')) return gatherBootstrap(config, into)
  else return false
  return true
}

/** The answer of Envoy's `/config_dump`. */
function gatherDump(configs: Setting, into: Configuration): boolean {
  const dumped = configs.items.map(typedOf)
  const all = (dump: string, list: string, ...resource: string[]): Setting[] =>
    dumped.filter(({ type }) => isType(type, dump)).flatMap(({ config }) => config.at(list).items.map((item) => item.at(...resource)))
  const live = [
    ...all('ListenersConfigDump', 'static_listeners', 'listener'),
    ...all('ListenersConfigDump', 'dynamic_listeners', 'active_state', 'listener'),
    ...all('ListenersConfigDump', 'dynamic_listeners', 'warming_state', 'listener'),
    ...all('ClustersConfigDump', 'static_clusters', 'cluster'),
    ...all('ClustersConfigDump', 'dynamic_active_clusters', 'cluster'),
    ...all('EndpointsConfigDump', 'dynamic_endpoint_configs', 'endpoint_config'),
    ...all('RoutesConfigDump', 'dynamic_route_configs', 'route_config'),
    ...all('EcdsConfigDump', 'ecds_filters', 'ecds_filter'),
    ...all('SecretsConfigDump', 'static_secrets', 'secret'),
    ...all('SecretsConfigDump', 'dynamic_active_secrets', 'secret'),
  ].filter((item) => item.present)
  for (const item of live) gatherResource(item, into)
  for (const { type, config } of dumped) {
    if (!isType(type, 'BootstrapConfigDump')) continue
    const bootstrap = config.at('bootstrap')
    // Its listeners and clusters are in the other dumps too, where those were asked for.
    if (live.length === 0) gatherBootstrap(bootstrap, into)
    else if (bootstrap.at('admin').present) into.envoy.admin.push(bootstrap.at('admin'))
  }
  return dumped.some(({ type }) => type.endsWith('ConfigDump'))
}

function gatherKubernetes(root: Setting, into: Configuration): boolean {
  const kind = root.at('kind').text ?? ''
  if (kind === 'List' || kind.endsWith('List')) {
    for (const item of root.at('items').items) gather(item, into)
    return true
  }
  if (kind === 'ConfigMap') for (const [, text] of root.at('data').members) gatherInside(text, into)
  if (kind === 'IstioOperator' && root.at('spec', 'meshConfig').isMap) into.meshes.push(root.at('spec', 'meshConfig'))
  if (kind === 'MeshConfig') into.meshes.push(root)
  const version = root.at('apiVersion').text ?? ''
  into.resources.push({
    kind,
    group: version.includes('/') ? version.slice(0, version.indexOf('/')) : '',
    name: root.at('metadata', 'name').text ?? '',
    namespace: root.at('metadata', 'namespace').text ?? 'default',
    root,
  })
  return true
}

/** Files in a ConfigMap: Istio's `mesh`, or a bootstrap; whatever else they are, is not ours. */
function gatherInside(member: Setting, into: Configuration): void {
  const { node, text } = member
  if (!node || text === undefined) return
  try {
    for (const inner of readYaml(text, sourceInside(node, text))) gather(Setting.under(inner, member.path), into)
  } catch (error) {
    if (!(error instanceof NotReadable)) throw error
  }
}
