import { parseTemplate, type TemplateSegment } from '../../core/path-template.ts'
import type { Settings } from '../schema.ts'

/** A route of the policy, as far as an Envoy configuration must fit it. */
export interface PolicyRoute {
  readonly id: string
  /** Exact, `*.suffix`, or undefined for any. */
  readonly host: string | undefined
  readonly methods: readonly string[]
  readonly segments: readonly TemplateSegment[]
  /** What ext_proc does for it, in one word; undefined where it is not needed. */
  readonly processed: 'captures' | 'removes' | 'filters' | undefined
  /** Whether Envoy is told an address. */
  readonly direct: boolean
}

/** The routes of a policy that was read without faults. */
export const policyRoutes = ({ routes }: Settings): PolicyRoute[] =>
  routes.flatMap(({ id, host, methods, path, owner }) => {
    const segments = parseTemplate(path)
    if (typeof segments === 'string') return []
    const processed = owner?.capture ? 'captures' : owner?.removes ? 'removes' : owner?.filter ? 'filters' : undefined
    return [{ id, host, methods, segments, processed, direct: owner?.direct === true }]
  })
