import type { Settings } from '../config/schema.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { SyncOptions } from './sync-options.ts'
import type { RecordRules } from './sync-record.ts'

/** Labels of tenants and endpoints where the policy names none: a mirrored record holds them anyway, for the day on which it does. */
const usualTenant = 'agentcube.io/tenant'

/** How objects become records, by the policy and the command line. @throws {StartRefused} */
export function rulesOf({
  loaded: { settings },
  cluster,
  id,
  subjects,
  endpoint,
}: Pick<SyncOptions, 'loaded' | 'cluster' | 'id' | 'subjects' | 'endpoint'>): RecordRules {
  const { ownership } = settings
  const endpointLabel = ownership.endpoint?.label
  if (endpoint !== undefined && endpointLabel === undefined)
    throw new StartRefused(['--endpoint: expected ownership.endpoint in the policy, which names the label and the networks'], 'policy')
  return {
    cluster,
    id,
    prefix: prefixOf(settings, subjects),
    ownerLabel: ownership.label,
    sharedLabel: ownership.shared_with ?? undefined,
    tenantLabel: ownership.tenant?.label ?? usualTenant,
    endpointLabel,
    endpoint: endpoint === undefined || endpointLabel === undefined ? undefined : { label: endpointLabel, port: endpoint },
  }
}

/** What is put before the subjects that the cluster names. */
function prefixOf({ identity }: Pick<Settings, 'identity'>, subjects: SyncOptions['subjects']): string {
  const namespaces = new Map(identity.map((entry) => [entry.name, 'subject_namespace' in entry ? (entry.subject_namespace ?? '') : '']))
  if (subjects === undefined) {
    const spaced = [...namespaces].filter(([, prefix]) => prefix !== '').map(([name]) => name)
    if (spaced.length === 0) return ''
    throw new StartRefused(
      [
        `subjects of ${spaced.join(', ')} have a subject_namespace here, and the cluster names them without: say whose they are by --subjects-of VALIDATOR, or what is put before them by --subject-namespace PREFIX`,
      ],
      'policy',
    )
  }
  if ('prefix' in subjects) return subjects.prefix
  const prefix = namespaces.get(subjects.validator)
  if (prefix === undefined)
    throw new StartRefused(
      [`--subjects-of: there is no validator "${subjects.validator}": expected one of ${[...namespaces.keys()].join(', ')}`],
      'policy',
    )
  return prefix
}
