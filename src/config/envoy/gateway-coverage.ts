import type { Context } from './context.ts'
import type { Configuration, Resource } from './model.ts'
import type { Setting } from './setting.ts'

const routeKinds = new Set(['HTTPRoute', 'GRPCRoute'])

interface Target {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly at: Setting
}

/** Checks on which routes of the Gateway API Postern is asked. */
export function lintGatewayCoverage({ resources }: Configuration, context: Context): void {
  const policies = resources.filter(({ kind }) => kind === 'SecurityPolicy')
  const asking = policies.filter(({ root }) => root.at('spec', 'extAuth').present)
  if (asking.length === 0) return
  if (policies.some(({ root }) => root.at('spec', 'targetSelectors').present)) {
    context.findings.unchecked('a SecurityPolicy selects its targets by labels: which routes ask Postern was not checked')
    return
  }
  const asked = asking.flatMap(targetsOf)
  const replacing = policies.filter((policy) => !asking.includes(policy) && !policy.root.at('spec', 'mergeType').present).flatMap(targetsOf)
  for (const target of replacing) tellReplaced(target, asked, context)
  for (const route of resources) {
    if (!routeKinds.has(route.kind)) continue
    const self = { kind: route.kind, namespace: route.namespace, name: route.name, at: route.root.at('metadata', 'name') }
    if (
      replacing.some((target) => same(target, self)) ||
      [self, ...parentsOf(route)].some((one) => asked.some((target) => same(target, one)))
    )
      continue
    context.findings.tell(
      'gateway-route-uncovered',
      self.at,
      `the ${route.kind} "${route.name}" is not asked about`,
      'put it, or its Gateway, among the targetRefs of a SecurityPolicy with extAuth',
      {
        route: { virtualHost: route.root.at('spec', 'hostnames').texts.join(', ') || '*', route: route.name },
      },
    )
  }
}

function tellReplaced(target: Target, asked: readonly Target[], { findings }: Context): void {
  if (!routeKinds.has(target.kind) || asked.some((other) => same(other, target)) || !asked.some(({ kind }) => kind === 'Gateway')) return
  findings.tell(
    'gateway-override',
    target.at,
    `the SecurityPolicy of the ${target.kind} "${target.name}" has no extAuth`,
    'the extAuth of the Gateway’s policy here too, or mergeType: StrategicMerge',
    {
      route: { virtualHost: '*', route: target.name },
    },
  )
}

const same = (a: Target, b: Target): boolean => a.kind === b.kind && a.name === b.name && a.namespace === b.namespace

/** A policy's targets are in its own namespace. */
function targetsOf({ root, namespace }: Resource): Target[] {
  const spec = root.at('spec')
  return [spec.at('targetRef'), ...spec.at('targetRefs').items]
    .filter((ref) => ref.present)
    .map((ref) => ({ kind: ref.at('kind').text ?? '', name: ref.at('name').text ?? '', namespace, at: ref.at('name') }))
}

const parentsOf = ({ root, namespace }: Resource): Target[] =>
  root.at('spec', 'parentRefs').items.map((ref) => ({
    kind: ref.at('kind').text ?? 'Gateway',
    name: ref.at('name').text ?? '',
    namespace: ref.at('namespace').text ?? namespace,
    at: ref,
  }))
