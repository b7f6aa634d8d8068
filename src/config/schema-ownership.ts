import { z } from 'zod'
import { defaultOwnerLabel } from '../core/ownership.ts'
import { duration, size, some, text } from './values.ts'

const resourceKind = () =>
  z.string().regex(/^[a-z][a-z0-9-]*$/, { error: 'expected a kind of resource: lower-case letters, digits and "-", a letter first' })

const pointer = () =>
  z
    .string()
    .regex(/^(?:\/(?:[^~/]|~[01])*)*$/, { error: 'expected a JSON pointer (RFC 6901), such as /items, or "" for the whole document' })

const responsePlace = () =>
  z.string().regex(/^response\.(?:location|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|body:(?:\/(?:[^~/]|~[01])*)+)$/, {
    error: 'expected response.header:NAME, response.body:/pointer (RFC 6901) or response.location',
  })

const capture = () =>
  z
    .strictObject({
      resource: resourceKind().describe('kind of resource that the upstream makes'),
      id: some(responsePlace()).describe(
        'response.header:NAME, response.body:/pointer or response.location; the first that is there counts',
      ),
      codes: some(z.int().min(200).max(299)).prefault([201]).describe('statuses that mean that a resource was made'),
      max_body: size().prefault('64KiB').describe('largest body that an id is looked for in; a larger one is refused'),
      endpoint: responsePlace().optional().describe('where the response says the ip:port of the resource, for `direct: true`'),
    })
    .describe("reads the new resource's id from the upstream's response (listen.ext_proc), and writes its owner")

const filter = () =>
  z
    .strictObject({
      items: pointer().describe('the array in the JSON body; "" where the body is the array'),
      id: pointer().describe('within an item: its id; "" where the item is the id'),
      max_items: z.int().min(1).max(100_000).prefault(1000).describe('a longer list is refused'),
      max_body: size().prefault('1MiB').describe('a larger body is refused'),
    })
    .describe('for upstreams that cannot filter: the response is reduced to what the caller may read (listen.ext_proc)')

/** `owner` of a route. */
export const owner = () =>
  z
    .strictObject({
      resource: resourceKind().optional().describe('kind of resource, such as sandbox'),
      id: text().optional().describe('path:NAME, header:NAME or query:NAME'),
      bypass_roles: some(text()).optional().describe('roles that pass without owning; on a list route, that see everything'),
      id_pattern: text().optional().describe('what the whole id must match, in the syntax of RE2; [A-Za-z0-9._~-]{1,128} where absent'),
      when_absent: z.enum(['deny', 'allow']).prefault('deny').describe('allow: no owner check where the id was not sent in any spelling'),
      source: text().optional().describe("name under `sources`; absent: Postern's own labels"),
      freshness: z.enum(['cached', 'strict']).prefault('cached').describe('strict: state is asked each time, no near copy will do'),
      removes: z.boolean().prefault(false).describe('true: the request takes the resource away; its labels go with it (listen.ext_proc)'),
      direct: z.boolean().prefault(false).describe('true: Envoy is told the endpoint that the label ownership.endpoint.label names'),
      list: resourceKind().optional().describe('kind of resource that this route lists: x-postern-owner goes to the upstream'),
      filter: filter().optional(),
      capture: capture().optional(),
    })
    .optional()
    .describe('Whose resource it must be')

/** `ownership` */
export const ownership = () =>
  z
    .strictObject({
      label: text().prefault(defaultOwnerLabel),
      shared_with: text()
        .nullable()
        .prefault('agentcube.io/shared-with')
        .describe('label that shares a resource with subjects, role:NAME and group:NAME; null: nothing is shared'),
      groups_claim: text().prefault('groups').describe('claim that lists the groups of a principal; dots lead into objects'),
      tenant: z
        .strictObject({
          label: text().prefault('agentcube.io/tenant').describe('label that names the tenant of a resource'),
          claim: text().describe('claim that names the tenant of a principal; dots lead into objects'),
          bypass_roles: z.array(text()).prefault([]).describe('roles that reach the resources of every tenant'),
        })
        .optional()
        .describe('a resource is reached by principals of its tenant alone; absent: there are no tenants'),
      endpoint: z
        .strictObject({
          label: text().prefault('agentcube.io/endpoint').describe('label that holds the ip:port of a resource'),
          networks: some(text()).describe('CIDR blocks that an endpoint may be in, such as 10.0.0.0/8'),
        })
        .optional()
        .describe('where a resource is reached on routes with `direct: true`'),
      cache: z
        .strictObject({
          size: z.int().min(0).max(100_000_000).prefault(100_000),
          ttl: duration().prefault('30s'),
          negative_ttl: duration().prefault('2s'),
          max_stale: duration().prefault('0s').describe('at most revocation.max_staleness'),
        })
        .prefault({}),
    })
    .prefault({})
