import type { Fault } from '../faults.ts'
import type { Context } from './context.ts'
import { lintExtAuthz } from './ext-authz.ts'
import { lintProcessors } from './ext-proc.ts'
import { lintProcessed } from './ext-proc-coverage.ts'
import { lintOrder } from './filter-order.ts'
import { type Finding, Findings } from './finding.ts'
import { lintGateway } from './gateway.ts'
import { lintGatewayCoverage } from './gateway-coverage.ts'
import { gather } from './gather.ts'
import { lintAccessLog, lintManager } from './http-manager.ts'
import { lintIstio } from './istio.ts'
import { lintEnvoyFilters } from './istio-envoy-filter.ts'
import { lintIstioRules } from './istio-rbac.ts'
import { lintJwtAuthn } from './jwt-authn.ts'
import { asksForCertificate, isLocalListener, lintAdmin, lintClientCertificates } from './listener.ts'
import { isExtAuthz, isJwtAuthn, type Manager, managersOf } from './managers.ts'
import { type Configuration, emptyConfiguration } from './model.ts'
import { lintOriginalDst } from './original-dst.ts'
import type { PolicyFacts } from './policy-facts.ts'
import { readDocuments } from './read-documents.ts'
import { lintRoutes } from './route-actions.ts'
import { lintCoverage } from './route-coverage.ts'
import { routesOf } from './routes.ts'

/** A file of an Envoy-side configuration. */
export interface EnvoyFile {
  /** The name that findings show. */
  readonly file: string
  readonly text: string
}

export interface EnvoyLint {
  /** By file in the order given, then from top to bottom. */
  readonly findings: readonly Finding[]
  /** What could not be compared or checked, one sentence each. */
  readonly notCompared: readonly string[]
  /** Files that cannot be read, or that are no Envoy-side configuration. */
  readonly faults: readonly Fault[]
}

/**
 * Finds what is unsafe in Envoy-side configurations: bootstraps, config dumps and xDS files of Envoy, resources of Istio and of Envoy
 * Gateway. All files are taken for one configuration: routes may stand in another file than their listener.
 * @param policy what it is compared with; without one, that is said
 */
export function lintEnvoy(files: readonly EnvoyFile[], policy: PolicyFacts | undefined): EnvoyLint {
  const configuration = emptyConfiguration()
  const faults = files.flatMap(({ file, text }) => {
    const read = readDocuments(file, text)
    if ('fault' in read) return [read.fault]
    const taken = read.roots.map((root) => gather(root, configuration))
    return taken.includes(true) ? [] : [strange(file)]
  })
  const findings = new Findings()
  if (!policy)
    findings.unchecked(
      'without a policy (--config), metadata_key, issuer, audiences, forward, headers and the address of Postern are not compared',
    )
  if (policy?.realms && policy.realm === undefined)
    findings.unchecked('the policy names several realms: their routes are compared one realm at a time (--realm)')
  lintConfiguration(configuration, { findings, resources: configuration.envoy, policy, patch: false })
  return { findings: findings.sorted(files.map(({ file }) => file)), notCompared: findings.notCompared, faults }
}

const strange = (file: string): Fault => ({
  file,
  line: 1,
  column: 1,
  path: '',
  message:
    'this is no Envoy-side configuration: expected an Envoy bootstrap, a config dump, xDS resources, or resources of Istio or Envoy Gateway',
})

function lintConfiguration(configuration: Configuration, context: Context): void {
  for (const admin of configuration.envoy.admin) lintAdmin(admin, context)
  lintManagers(managersOf(configuration.envoy, context.findings), context)
  lintIstio(configuration, context)
  lintEnvoyFilters(configuration, context)
  lintGateway(configuration, context)
  lintGatewayCoverage(configuration, context)
}

function lintManagers(managers: readonly Manager[], context: Context): void {
  const asking = managers.filter(({ filters }) => filters.some(isExtAuthz))
  const [first] = managers
  // A filter that comes by ECDS and is in no file may be the one.
  const unknown = managers.some(({ filters }) => filters.some(({ type }) => type === ''))
  if (first && asking.length === 0 && !unknown)
    context.findings.tell(
      'ext-authz-missing',
      first.config.at('http_filters'),
      'no listener has ext_authz',
      'put ext_authz before the router, as envoy/envoy.yaml has it',
    )
  for (const manager of managers) {
    lintOriginalDst(manager, context)
    if (asking.includes(manager)) lintAsking(manager, context)
    else if (asking.length > 0 && !isLocalListener(manager.listener) && forwards(manager))
      context.findings.tell(
        'listener-without-ext-authz',
        manager.config.at('http_filters'),
        `the listener "${manager.listener.at('name').shown}" has no ext_authz`,
        'put ext_authz there too, or the listener on loopback',
      )
  }
}

/** Whether requests reach an upstream: a listener that only redirects to https lets nobody in. */
const forwards = ({ routeConfigs }: Manager): boolean =>
  routeConfigs.length === 0 || routeConfigs.flatMap(routesOf).some((route) => route.forwards)

function lintAsking(manager: Manager, context: Context): void {
  const { filters, tls, config, listener } = manager
  const around = { jwt: filters.some(isJwtAuthn), certificates: asksForCertificate(tls, context) }
  for (const filter of filters) {
    if (isExtAuthz(filter)) lintExtAuthz(filter.config, around, context)
    if (isJwtAuthn(filter)) lintJwtAuthn(filter.config, context)
  }
  lintOrder(filters, context)
  lintProcessors(filters, context)
  lintIstioRules(filters, context)
  lintManager(config, listener, context)
  if (tls) lintClientCertificates(tls, context)
  if (context.policy?.workloads && !around.certificates)
    context.findings.tell(
      'policy-client-certificate',
      listener.at('name'),
      `the listener "${listener.at('name').shown}" asks clients for no certificate`,
      'a validation_context with trusted_ca in its DownstreamTlsContext',
    )
  lintAccessLog(manager, context)
  lintCoverage(manager, context)
  lintProcessed(manager, context)
  lintRoutes(manager, context)
}
