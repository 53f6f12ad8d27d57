import { useQuery } from '@tanstack/react-query';

import { AwaitedChart } from '@/components/chart/awaited-chart';
import { Page } from '@/components/ui/page';
import { accessKeysQuery } from '@/features/access-keys/api';
import { keyName } from '@/features/access-keys/key-name';
import { KeyPicker } from '@/features/access-keys/key-picker';
import { usageQuery } from '@/features/usage/api';
import { Dashboard } from '@/features/usage/dashboard';
import { FilterBar } from '@/features/usage/filter-bar';
import { ofAllModels } from '@/features/usage/filters';
import { Freshness } from '@/features/usage/freshness';
import { useFilters } from '@/features/usage/use-filters';
import { UserPicker } from '@/features/users/user-picker';
import { useMessages } from '@/messages/messages';

// On its way while the numbers are; whoever shows a chart says what went wrong.
AwaitedChart.ahead().catch(() => {});

export function DashboardRoute() {
  const { dashboard } = useMessages();
  const { filters, asked, change } = useFilters();
  const { user_id, access_key_id } = filters;
  // While none is chosen it is the report that is shown, so nothing is asked twice.
  const { data: report } = useQuery({ ...usageQuery(ofAllModels(asked)), refetchInterval: false });
  const models = report?.by_model.map(({ model_id }) => model_id).filter(Boolean) ?? [];
  const { data: keys = [] } = useQuery({
    ...accessKeysQuery(user_id ?? ''),
    enabled: user_id !== null,
  });
  return (
    <Page title={dashboard.title} aside={<Freshness asked={asked} />}>
      <FilterBar filters={filters} models={models} onChange={change}>
        <UserPicker
          value={user_id}
          onChange={(chosen) => change({ user_id: chosen, access_key_id: null })}
        />
        {user_id && (
          <KeyPicker
            keys={keys}
            value={access_key_id}
            onChange={(chosen) => change({ access_key_id: chosen })}
          />
        )}
      </FilterBar>
      <Dashboard asked={asked} keys={keys.map((key) => ({ id: key.id, label: keyName(key) }))} />
    </Page>
  );
}
